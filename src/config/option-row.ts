/** An option as the command line and the option table show it. The rows are generated, so that `--help` needs no zod. */
export interface OptionRow {
  /** Dotted path in the resolved configuration. */
  path: string;
  /** Names of its flag, without dashes; the first is shown. */
  flags: readonly string[];
  /** Heading it is shown under. */
  group: string;
  /** What a value may be. `list:T` is a list of T. */
  types: readonly string[];
  /** Every value there is, when it is a choice. */
  choices?: readonly string[];
  /** The default in words or JSON. */
  default: string;
  unit?: string;
  description: string;
  /** The architectures that have it, when not all do. */
  architectures?: readonly string[];
}
