import { readFileSync } from "node:fs";
import { write } from "../services/files.ts";

export const read = () => readFileSync("x");
export { write };
