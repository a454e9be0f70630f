/**
 * Advisory locks: numbers that every instance on one database agrees on. They spell "bunker" and what comes after
 * it in ASCII, so that another program on the same database is unlikely to use them.
 */
export const advisoryLocks = {
  migrations: 0x62756e6b6572,
  firstSuperuser: 0x62756e6b6573,
  signingKeys: 0x62756e6b6574,
} as const;
