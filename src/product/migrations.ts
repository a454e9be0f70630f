// Written by `bun run db:generate:product`.

export const migrations: { tag: string; sql: string }[] = [
];
