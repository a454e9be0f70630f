/** The script of /docs: Swagger UI, and changes for which it has no settings. */
const dark = matchMedia("(prefers-color-scheme: dark)");
const followScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followScheme);
followScheme();

/** Focuses the username. Swagger UI focuses the last field, and scrolls there. */
const focusOnUsername = (System) => (props) => {
  const { React, Original } = System;
  React.useEffect(() => {
    document.querySelector("#oauth_username")?.focus();
    document.querySelector(".modal-ux-content")?.scrollTo(0, 0);
  }, []);
  return React.createElement(Original, props);
};

const signIn = ({ React }) => ({
  wrapComponents: { auths: (Original) => focusOnUsername({ React, Original }) },
  statePlugins: {
    err: {
      wrapActions: {
        newAuthErr: (show) => (error) =>
          show({ ...error, message: error.message.replace(/^Error: /, "") }),
      },
    },
  },
});

/**
 * Swagger UI shows only the status text of a refused sign-in. This replaces it with the detail of
 * the problem.
 */
function showDetail(response) {
  if (!response.ok && response.obj?.detail) response.statusText = response.obj.detail;
  return response;
}

addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    // Not `persistAuthorization`: it would keep the password and the tokens in the browser's
    // storage.
    responseInterceptor: showDetail,
    plugins: [signIn],
  });
});
