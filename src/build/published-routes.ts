import type { Shape, ShapeMember } from "./route-types.ts";

/** The methods of each path of an OpenAPI document. */
export type Paths = Record<string, Record<string, unknown>>;

/**
 * Removes routes that the OpenAPI document hides, and the 422 of Elysia's own validation, which
 * Elysia adds to each route that declares none.
 */
export function publishedRoutes(routes: Shape, paths: Paths): Shape {
  const prune = (shape: Shape, path: string): Shape =>
    mapMembers(shape, (member) => {
      if (isRoute(member.shape))
        return isIn(paths, path, member.name)
          ? [{ ...member, shape: withoutValidation(member.shape) }]
          : [];
      const inner = prune(member.shape, `${path}/${member.name}`);
      return isEmpty(inner) ? [] : [{ ...member, shape: inner }];
    });
  return prune(routes, "");
}

const isIn = (paths: Paths, path: string, method: string): boolean =>
  paths[path.replace(/:(\w+)/g, "{$1}")]?.[method] !== undefined;

const isRoute = (shape: Shape) => has(shape, "body") && has(shape, "response");

const withoutValidation = (route: Shape): Shape =>
  mapMembers(route, (member) =>
    member.name === "response"
      ? [{ ...member, shape: mapMembers(member.shape, exceptValidation) }]
      : [member],
  );
const exceptValidation = (status: ShapeMember) => (has(status.shape, "summary") ? [] : [status]);

const mapMembers = (shape: Shape, map: (member: ShapeMember) => ShapeMember[]): Shape =>
  shape.kind === "object" ? { ...shape, members: shape.members.flatMap(map) } : shape;
const has = (shape: Shape, name: string): boolean =>
  shape.kind === "object" && shape.members.some((member) => member.name === name);
const isEmpty = (shape: Shape): boolean => shape.kind === "object" && shape.members.length === 0;
