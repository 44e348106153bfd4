// Every game against the perfect opponent: all moves of the other side, and all moves that the opponent may choose from.
const engine = await import(process.argv[2]);

function playAll(perfect) {
  const results = { games: 0, won: 0, lost: 0, drawn: 0 };
  const step = (board) => {
    const { winner } = engine.outcome(board);
    if (winner) {
      results.games += 1;
      results[winner === "draw" ? "drawn" : winner === perfect ? "won" : "lost"] += 1;
      return;
    }
    const player = engine.turn(board);
    const moves = player === perfect ? engine.bestMoves(board) : engine.free(board);
    for (const move of moves) step(engine.place(board, move, player));
  };
  step(".........");
  return results;
}

/** Boards that come up in play, and those that the validation lets pass: they must be the same. */
function boards() {
  const reached = new Set();
  const visit = (board) => {
    if (reached.has(board)) return;
    reached.add(board);
    if (engine.outcome(board).winner) return;
    for (const move of engine.free(board)) visit(engine.place(board, move, engine.turn(board)));
  };
  visit(".........");
  const accepted = new Set();
  for (let number = 0; number < 3 ** 9; number++) {
    const board = [...number.toString(3).padStart(9, "0")].map((digit) => ".XO"[digit]).join("");
    if (engine.problem(board) === null) accepted.add(board);
  }
  return { reached: reached.size, accepted: accepted.size, same: [...reached].every((board) => accepted.has(board)) };
}

/** For each level, how often it takes a win, and how often it blocks one, over all random numbers that matter. */
function reflexes(level) {
  const draws = Array.from({ length: 9 }, (_, index) => (index + 0.5) / 9);
  const moves = (board) => [...new Set(draws.map((number) => engine.chooseMove(board, level, () => number)))].sort();
  return { win: moves("XX.OO...."), block: moves("XX.O....."), open: moves("....X....") };
}

console.log(JSON.stringify({
  x: playAll("X"),
  o: playAll("O"),
  boards: boards(),
  reflexes: Object.fromEntries(engine.LEVELS.map((level) => [level, reflexes(level)])),
}));
