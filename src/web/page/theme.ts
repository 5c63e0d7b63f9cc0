/** Whether the page is dark at this moment: as the system has it, or as somebody chose on the page. */
export const isDark = (): boolean => {
  const chosen = document.documentElement.dataset.theme;
  return chosen === undefined ? matchMedia('(prefers-color-scheme: dark)').matches : chosen === 'dark';
};

/** Makes a button switch between the system's theme and the other one; `redraw` what has colours of its own. */
export function themeButton(button: HTMLElement, redraw: () => void): void {
  const set = (theme: string): void => {
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `theme: ${theme}`;
    keep(theme);
    redraw();
  };
  button.addEventListener('click', () => {
    const chosen = document.documentElement.dataset.theme;
    set(chosen === undefined ? (isDark() ? 'light' : 'dark') : 'system');
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  set(kept());
}

// A browser that keeps nothing of a page still shows it.
function kept(): string {
  try {
    return localStorage.getItem('theme') ?? 'system';
  } catch {
    return 'system';
  }
}

function keep(theme: string): void {
  try {
    localStorage.setItem('theme', theme);
  } catch {}
}
