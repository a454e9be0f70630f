import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: ["./src/limits/tables.ts", "./src/modules/*/tables.ts"],
  out: "./drizzle",
});
