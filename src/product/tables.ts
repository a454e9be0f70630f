import type { PgTable } from "drizzle-orm/pg-core";

/** Every table of the product. Their names begin with `product_`. */
export const productTables: PgTable[] = [];
