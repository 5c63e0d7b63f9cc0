import type { Command } from 'commander';
import { printJson, printText } from '../output.ts';

interface ReportFlags {
  json?: true;
  output?: string;
  runs_folder: string;
}

export function addReport(program: Command): void {
  program
    .command('report <run>')
    .summary('write one HTML file that tells all of a run')
    .description(
      'Write one HTML file with evaluation, curves, configuration and provenance of a run, to keep or to send.',
    )
    .option('--output <file>', 'where to write it (default: report.html in the folder of the run)')
    .option('--runs_folder <folder>', 'folder of all runs', 'runs')
    .option('--json', 'one JSON document on stdout')
    .action(async (run: string, { json, output, runs_folder }: ReportFlags) => {
      const { writeReport } = await import('../../runners/report.ts');
      const path = await writeReport(run, { runsFolder: runs_folder, output });
      if (json) return printJson({ path });
      printText(`report  ${path}\n`);
    });
}
