import { type Static, type TObject, type TProperties, Type } from "@sinclair/typebox";

/** A type of events: what its data has, and what the documents say about it. */
export interface EventDefinition<P extends TProperties = TProperties> {
  /** Increases when `data` changes in a way that a consumer must know. */
  version: number;
  /** What the subject of such an event is; "none" if it has no subject. */
  about: string;
  /** When it is recorded, as one sentence. */
  when: string;
  data: TObject<P>;
  example: Static<TObject<P>>;
}

/** Defines a type of events without data of its own, or with `data` and an example of it. */
export function defineEvent<P extends TProperties>(
  it: { about: string; when: string; version?: number } & Fields<P>,
): EventDefinition<P>;
export function defineEvent(it: { about: string; when: string }): EventDefinition<NoFields>;
export function defineEvent({ version = 1, data = {}, example = {}, ...it }: Options) {
  return { ...it, version, data: Type.Object(data), example };
}

type NoFields = Record<never, never>;
interface Fields<P extends TProperties> {
  data: P;
  example: Static<TObject<P>>;
}
interface Options extends Pick<EventDefinition, "about" | "when"> {
  version?: number;
  data?: TProperties;
  example?: unknown;
}

/** The data of an event of this definition. */
export type DataOf<D> =
  D extends EventDefinition<infer P>
    ? keyof P extends never
      ? Record<string, never>
      : Static<TObject<P>>
    : never;

/** A UUID in the data of an event. */
export const uuid = (description: string) => Type.String({ format: "uuid", description });

/** A list of names in the data of an event. */
export const names = (description: string) => Type.Array(Type.String(), { description });

/** Any other text in the data of an event. */
export const text = (description: string) => Type.String({ description });
