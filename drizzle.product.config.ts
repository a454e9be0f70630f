import { defineConfig } from "drizzle-kit";

/** The tables of src/product. With their own journal, so that an upgrade changes no file of it. */
export default defineConfig({
  dialect: "postgresql",
  schema: "./src/product/*/tables.ts",
  out: "./drizzle/product",
  migrations: { prefix: "timestamp" },
});
