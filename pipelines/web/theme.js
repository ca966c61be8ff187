// Light or dark: as the system has it, unless somebody chooses.

import { byId } from "./dom.js";

const system = matchMedia("(prefers-color-scheme: dark)");

/** Show a choice; null is the system's. */
export function showTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  byId("theme").textContent = themeNow() === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to ${themeNow() === "dark" ? "light" : "dark"} colours`);
}

/** What is shown now. */
export function themeNow() {
  return document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
}

/** The other one, as the state has it: what the system shows anyway is no choice. */
export function otherTheme() {
  const other = themeNow() === "dark" ? "light" : "dark";
  return (other === "dark") === system.matches ? null : other;
}

/** Be told when the system changes its mind. */
export function onSystemTheme(changed) {
  system.addEventListener("change", changed);
}
