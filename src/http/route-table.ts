interface Route {
  method: string;
  path: string;
}

/**
 * The methods of each path, for 405 with Allow (RFC 9110, section 15.5.6). Empty until the app is
 * complete: the plugin that uses it is mounted before the routes.
 */
export function routeTable() {
  let patterns: (Route & { pattern: RegExp })[] = [];
  return {
    setRoutes: (routes: Route[]) => {
      patterns = routes.map((route) => ({ ...route, pattern: patternOf(route.path) }));
    },
    methodsOf: (path: string): string[] => {
      const methods = patterns
        .filter(({ pattern }) => pattern.test(path))
        .map(({ method }) => method);
      return [...new Set(methods.includes("GET") ? [...methods, "HEAD"] : methods)].sort();
    },
  };
}

const patternOf = (path: string) => {
  const literal = path.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const end = path === "/" ? "$" : "/?$";
  return new RegExp(`^${literal.replace(/:[^/]+/g, "[^/]+").replace("\\*", ".*")}${end}`);
};
