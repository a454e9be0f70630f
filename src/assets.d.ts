declare module "*.zst" {
  const path: string;
  export default path;
}
declare module "*.manifest" {
  const path: string;
  export default path;
}
declare module "*.service" {
  const text: string;
  export default text;
}
declare module "*.sql" {
  const text: string;
  export default text;
}
declare module "swagger-ui-dist/*" {
  const path: string;
  export default path;
}
declare module "*.browser.js" {
  const path: string;
  export default path;
}
declare module "*.client.js" {
  const text: string;
  export default text;
}
