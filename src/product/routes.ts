import { Elysia } from "elysia";
import type { Ctx } from "../ctx.ts";

/** The routes of the product. */
export const productRoutes = (_ctx: Ctx) => new Elysia({ name: "product" });
