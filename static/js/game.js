// Keeps the starting time up to date while the visitor reads about the game.

import { liveParts, whileVisible } from "./live.js";

whileVisible(liveParts(`${location.pathname}live/`), 4_000);
