/** A type as a value, for a table whose keys the program reads. The value is undefined. */
export const typeOf = <T>() => undefined as T;
