// ReDoc on our schema, in the colours of the page.
"use strict";

const place = document.getElementById("redoc");
const dark = matchMedia("(prefers-color-scheme: dark)");

// ReDoc's footer asks another host for a picture. Nothing here does, so it gets none.
const local = (address) => (new URL(address, location).origin === location.origin ? address : "data:,");
const src = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
Object.defineProperty(HTMLImageElement.prototype, "src", {
  ...src,
  set(address) { src.set.call(this, local(address)); },
});
HTMLImageElement.prototype.setAttribute = function (name, value) {
  Element.prototype.setAttribute.call(this, name, name === "src" ? local(value) : value);
};

// A theme says itself whether it is dark (/theme.css); without one it is as the system has it.
const isDark = () => {
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  return scheme.includes("light") ? scheme.includes("dark") && dark.matches : scheme.includes("dark");
};

const theme = () => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const text = { primary: colour("text"), secondary: colour("soft") };
  return {
    colors: { primary: { main: colour("accent") }, text, border: { dark: colour("line"), light: colour("line") } },
    schema: { nestedBackground: colour("page"), linesColor: colour("line"), typeNameColor: colour("soft"), typeTitleColor: colour("soft"), requireLabelColor: colour("bad") },
    sidebar: { backgroundColor: colour("card"), textColor: colour("text"), activeTextColor: colour("accent") },
    rightPanel: { backgroundColor: isDark() ? "#0e0f13" : "#23262f" },
    codeBlock: { backgroundColor: isDark() ? "#17191f" : "#15171d" },
    typography: { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" }, code: { fontFamily: "ui-monospace, monospace", color: colour("accent"), backgroundColor: colour("page") }, links: { color: colour("accent") } },
  };
};

const show = () => Redoc.init(place.dataset.schemaUrl, { theme: theme(), scrollYOffset: ".bar", hideDownloadButton: false, disableSearch: false }, place);
dark.addEventListener("change", () => location.reload());
show();
