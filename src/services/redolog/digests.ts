import { join } from "node:path";
import type { BasePaths } from "../paths.ts";
import { KeptLinks } from "./kept-links.ts";

/** Kept digest chains of one log; both servers keep them in the same place. */
export const keptLinksOf = (
	base: BasePaths,
	log: { readonly sequence: number; readonly createTime: number },
): KeptLinks =>
	new KeptLinks(join(base.base, "status/digests"), `${log.sequence}-${log.createTime}`);
