import { findLiveSyncd } from "../../services/live-syncd-here.ts";
import type { Serve } from "./context.ts";
import { say } from "./output.ts";

/** `busy` where live-syncd runs here or is being started, else `OK`: it must not run on both servers. */
export const serve: Serve<"test"> = async (_, { config }) => {
	await say((await findLiveSyncd(config)) === "stopped" ? "OK\n" : "busy\n");
	return 0;
};
