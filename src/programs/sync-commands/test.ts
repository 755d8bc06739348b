import { findLiveSyncd } from "../../services/live-syncd-here.ts";
import { answer } from "../../services/standard-output.ts";
import type { Serve } from "./context.ts";

/** `busy` where live-syncd runs here or is being started, else `OK`: it must not run on both servers. */
export const serve: Serve<"test"> = async (_, { config }) => {
	await answer((await findLiveSyncd(config)) === "stopped" ? "OK\n" : "busy\n");
	return 0;
};
