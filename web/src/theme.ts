/** Dark or light: as the system says, until the reader says otherwise. */

export type Theme = "dark" | "light";
const KEY = "tickerlake-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen(): Theme | null {
  const value = localStorage.getItem(KEY);
  return value === "dark" || value === "light" ? value : null;
}

export function theme(): Theme {
  return chosen() ?? (system.matches ? "dark" : "light");
}

/** Put the theme onto the page now and whenever it changes, then call back. */
export function startTheme(button: HTMLElement, changed: () => void): void {
  const apply = () => {
    document.documentElement.dataset.theme = theme();
    button.setAttribute("aria-pressed", String(theme() === "dark"));
    changed();
  };
  system.addEventListener("change", apply);
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, theme() === "dark" ? "light" : "dark");
    apply();
  });
  document.documentElement.dataset.theme = theme();
}

/** A colour of the style sheet as the canvas needs it: resolved for the theme in force. */
export function colour(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}
