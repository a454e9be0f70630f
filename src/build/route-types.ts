/**
 * Reads the type of the API's routes from the source, as a plain tree. Uses the asynchronous
 * compiler API of TypeScript 7, because the synchronous one does not work in Bun.
 */
import {
  API,
  type Checker,
  type Symbol as Property,
  SymbolFlags,
  type Type,
  TypeFlags,
} from "typescript/unstable/async";

/** A type that needs no import: `string`, `Response`, `"ok"`. */
interface Text {
  kind: "text";
  text: string;
}
interface Objects<T> {
  kind: "object";
  members: Member<T>[];
}
interface Arrays<T> {
  kind: "array";
  of: T;
}
interface Generators<T> {
  kind: "generator";
  of: T;
}
interface Unions<T> {
  kind: "union";
  of: T[];
}
interface Member<T> {
  /** For an index signature, the text before the colon: `[key: string]`. */
  name: string;
  isOptional: boolean;
  shape: T;
}

/** A type, expanded down to its leaves. */
export type Shape = Text | Objects<Shape> | Arrays<Shape> | Generators<Shape> | Unions<Shape>;
export type ShapeMember = Member<Shape>;

type Layer = Text | Objects<Type> | Arrays<Type> | Generators<Type> | Unions<Type>;

/** Reads the routes of the type `App` that `file` exports. Throws if a type is recursive. */
export async function readRoutes(place: { config: string; file: string }): Promise<Shape> {
  const api = new API();
  try {
    const snapshot = await api.updateSnapshot({ openProjects: [place.config] });
    const project = snapshot.getProject(place.config);
    if (!project) throw new Error(`no project at ${place.config}`);
    const routes = await typeOfRoutes(project.checker, place.file);
    return await shapeOf(routes, openReader(project.checker));
  } finally {
    await api.close();
  }
}

async function typeOfRoutes(checker: Checker, file: string): Promise<Type> {
  const text = await Bun.file(file).text();
  const at = text.indexOf(EXPORT) + EXPORT.length - 1;
  const symbol = await checker.getSymbolAtPosition(file, at);
  const app = symbol && (await checker.getDeclaredTypeOfSymbol(symbol));
  const routes = app && (await checker.getPropertyOfType(app, "~Routes"));
  const type = routes && (await checker.getTypeOfSymbol(routes));
  if (!type) throw new Error(`${file} exports no type App of an Elysia app`);
  return type;
}
const EXPORT = "export type App";

/** Globals that exist in the client under the same name. */
const PLATFORM = new Set(["Response", "Blob", "File", "Date"]);

type Reader = (type: Type) => Promise<Layer>;

async function shapeOf(type: Type, read: Reader, within: readonly Type[] = []): Promise<Shape> {
  if (within.includes(type)) throw new Error("a type of a route refers to itself");
  const inner = (one: Type) => shapeOf(one, read, [...within, type]);
  const layer = await read(type);
  if (layer.kind === "text") return layer;
  if (layer.kind === "array") return { ...layer, of: await inner(layer.of) };
  if (layer.kind === "generator") return { ...layer, of: await inner(layer.of) };
  if (layer.kind === "union") return { ...layer, of: await Promise.all(layer.of.map(inner)) };
  const members = layer.members.map(async (one) => ({ ...one, shape: await inner(one.shape) }));
  return { ...layer, members: await Promise.all(members) };
}

/** Caches each type, because the compiler is another process. */
function openReader(checker: Checker): Reader {
  const known = new Map<Type, Promise<Layer>>();
  return (type) => {
    const layer = known.get(type) ?? layerOf(checker, type);
    known.set(type, layer);
    return layer;
  };
}

async function layerOf(checker: Checker, type: Type): Promise<Layer> {
  if (type.isUnionType() && !(type.flags & TypeFlags.Boolean))
    return { kind: "union", of: [...(await type.getTypes())] };
  if ((await checker.isArrayType(type)) && type.isTypeReference()) {
    const [of] = await checker.getTypeArguments(type);
    if (of) return { kind: "array", of };
  }
  if (!(type.flags & (TypeFlags.Object | TypeFlags.Intersection)))
    return { kind: "text", text: await checker.typeToString(type) };
  const name = (await type.getSymbol())?.name ?? "";
  if (name === "AsyncGenerator" && type.isTypeReference()) {
    const [of] = await checker.getTypeArguments(type);
    if (of) return { kind: "generator", of };
  }
  if (PLATFORM.has(name)) return { kind: "text", text: name };
  return { kind: "object", members: await membersOf(checker, type) };
}

async function membersOf(checker: Checker, type: Type): Promise<Member<Type>[]> {
  const indexes = (await checker.getIndexInfosOfType(type)).map(async ({ keyType, valueType }) => ({
    name: `[key: ${await checker.typeToString(keyType)}]`,
    isOptional: false,
    shape: valueType,
  }));
  const properties = (await checker.getPropertiesOfType(type)).map((one) => memberOf(checker, one));
  return Promise.all([...indexes, ...properties]);
}

async function memberOf(checker: Checker, property: Property): Promise<Member<Type>> {
  const shape = await checker.getTypeOfSymbol(property);
  if (!shape) throw new Error(`no type of ${property.name}`);
  const isOptional = (property.flags & SymbolFlags.Optional) !== 0;
  return { name: property.name, isOptional, shape };
}
