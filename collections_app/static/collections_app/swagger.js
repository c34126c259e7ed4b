// Swagger UI on our schema. The schema depends on who asks, so it is fetched with the token that
// was given under "Authorize", and again whenever that changes.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
// A theme says itself whether it is dark (/theme.css); without one it is as the system has it.
const isDark = () => {
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  return scheme.includes("light") ? scheme.includes("dark") && dark.matches : scheme.includes("dark");
};
const paint = () => document.documentElement.classList.toggle("dark-mode", isDark());
dark.addEventListener("change", paint);
paint();

const again = (original) => (...values) => {
  const result = original(...values);
  setTimeout(() => ui.specActions.download());
  return result;
};

const token = () => {
  const authorized = window.ui?.authSelectors.authorized().toJS() ?? JSON.parse(localStorage.getItem("authorized") ?? "{}");
  return authorized.bearer?.value;
};

window.ui = SwaggerUIBundle({
  url: document.getElementById("swagger-ui").dataset.schemaUrl,
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  validatorUrl: null,
  plugins: [
    () => ({
      statePlugins: {
        auth: { wrapActions: { authorizeWithPersistOption: again, logoutWithPersistOption: again } },
      },
    }),
  ],
  requestInterceptor: (request) => {
    const given = request.loadSpec && token();
    if (given) {
      request.headers.Authorization = `Bearer ${given}`;
    }
    return request;
  },
  responseInterceptor: (response) => {
    // A token that has ended must not hide the whole schema.
    if (response.status === 401 && new URL(response.url, location).pathname === new URL(ui.getConfigs().url, location).pathname) {
      ui.authActions.logoutWithPersistOption(["bearer"]);
    }
    return response;
  },
});
