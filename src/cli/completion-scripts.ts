/**
 * Nothing that was typed is evaluated: words go to the program as they are, and back. Without a candidate of ours the
 * shell completes files.
 */
export const SCRIPTS = {
  bash: `# sae-lens-ts: put  eval "$(sae-lens-ts completion bash)"  into ~/.bashrc
_sae_lens_ts() {
  local line="\${COMP_LINE:0:COMP_POINT}" cur="\${COMP_WORDS[COMP_CWORD]}" candidate prefix
  local -a words
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  # bash takes : and = for ends of words: what stands before them is there already.
  [[ $cur == [:=] ]] && cur=
  prefix="\${words[\${#words[@]}-1]}"
  prefix="\${prefix%"$cur"}"
  COMPREPLY=()
  while IFS=$'\\t' read -r candidate _; do
    COMPREPLY+=("\${candidate#"$prefix"}")
  done < <(sae-lens-ts complete -- "\${words[@]:1}" 2>/dev/null)
}
complete -o default -F _sae_lens_ts sae-lens-ts
`,
  zsh: `#compdef sae-lens-ts
# sae-lens-ts: put  eval "$(sae-lens-ts completion zsh)"  into ~/.zshrc, behind compinit
_sae_lens_ts() {
  local -a candidates
  local candidate meaning
  while IFS=$'\\t' read -r candidate meaning; do
    candidates+=("\${candidate//:/\\\\:}:$meaning")
  done < <(sae-lens-ts complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#candidates} )); then
    _describe sae-lens-ts candidates
  else
    _files
  fi
}
compdef _sae_lens_ts sae-lens-ts
`,
  fish: `# sae-lens-ts: put this into ~/.config/fish/completions/sae-lens-ts.fish
function __sae_lens_ts_knows
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -g __sae_lens_ts_candidates (sae-lens-ts complete -- $words[2..-1] "$word" 2>/dev/null)
    count $__sae_lens_ts_candidates >/dev/null
end
complete -c sae-lens-ts -n __sae_lens_ts_knows -f -a '(printf "%s\\n" $__sae_lens_ts_candidates)'
`,
} as const;
