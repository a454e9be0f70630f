import type { Config } from "../config.ts";
import { escaped } from "../kit/html.ts";
import type { Words } from "./words.ts";

/** Where people go on when a page is done: a link to the product, or nothing where no setting says where it is. */
export function openProductLink(config: Config): (words: Words) => string {
  const { verifyEmailUrl, resetPasswordUrl, signInUrl } = config;
  const [redirect] = [verifyEmailUrl, resetPasswordUrl, signInUrl].filter((url) => url);
  const product = config.productUrl ?? (redirect && new URL(redirect).origin);
  if (!product) return () => "";
  return (words) => {
    const text = words.continue.replace("{brand}", () => config.brandName);
    return `<p><a href="${escaped(product)}">${escaped(text)}</a></p>`;
  };
}
