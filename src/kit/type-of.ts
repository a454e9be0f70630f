/**
 * A type as a value, for a table whose keys the program reads and whose types only the compiler
 * does. The value itself is undefined.
 */
export const typeOf = <T>() => undefined as T;
