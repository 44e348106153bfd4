// The rules of Tic-Tac-Toe, and opponents from careless to perfect. Pure: no clock, no network.
// A board is nine characters, row by row: "X", "O" or "." for a free field. X moves first.

export const LEVELS = ["easy", "fair", "perfect"];
export const LINES = [
  [0, 1, 2], [3, 4, 5], [6, 7, 8],
  [0, 3, 6], [1, 4, 7], [2, 5, 8],
  [0, 4, 8], [2, 4, 6],
];

export const other = (player) => (player === "X" ? "O" : "X");

/** Return how the game stands: {winner: "X" | "O" | "draw" | null, line: the three fields or null}. */
export function outcome(board) {
  for (const line of LINES) {
    const [a, b, c] = line;
    if (board[a] !== "." && board[a] === board[b] && board[a] === board[c]) return { winner: board[a], line };
  }
  return { winner: board.includes(".") ? null : "draw", line: null };
}

/** Return whose turn it is. */
export function turn(board) {
  const count = (player) => [...board].filter((field) => field === player).length;
  return count("X") === count("O") ? "X" : "O";
}

/** Return what is wrong with a board that somebody sent, as a sentence; null if it can come from a game. */
export function problem(board) {
  if (typeof board !== "string" || !/^[XO.]{9}$/.test(board)) {
    return "board must be nine of X, O and . (a free field), row by row";
  }
  const count = (player) => [...board].filter((field) => field === player).length;
  const ahead = count("X") - count("O");
  if (ahead !== 0 && ahead !== 1) return "board must have as many X as O, or one more: X moves first";
  const won = (player) => LINES.some((line) => line.every((field) => board[field] === player));
  // Whoever completes a line ends the game with that move.
  if ((won("X") && ahead !== 1) || (won("O") && ahead !== 0)) return "board goes on after somebody has won";
  return null;
}

export function free(board) {
  return [...board].flatMap((field, index) => (field === "." ? [index] : []));
}

export function place(board, index, player) {
  return board.slice(0, index) + player + board.slice(index + 1);
}

const values = new Map();

/** Return a board's worth for the player to move: above 0 a win (higher if sooner), 0 a draw, below 0 a loss. */
export function value(board) {
  const known = values.get(board);
  if (known !== undefined) return known;
  const { winner } = outcome(board);
  const left = free(board);
  let worth;
  if (winner === "draw") worth = 0;
  else if (winner) worth = -(left.length + 1); // the player before has won
  else worth = Math.max(...left.map((index) => -value(place(board, index, turn(board)))));
  values.set(board, worth);
  return worth;
}

/** Return every move that is as good as the best one. */
export function bestMoves(board) {
  const player = turn(board);
  const worth = value(board);
  return free(board).filter((index) => -value(place(board, index, player)) === worth);
}

/** Choose a move for the player to move; `random` returns numbers from 0 to below 1. */
export function chooseMove(board, level, random = Math.random) {
  const any = (moves) => moves[Math.floor(random() * moves.length)];
  if (level === "perfect") return any(bestMoves(board));
  if (level === "fair") return any(completing(board, turn(board)) ?? completing(board, other(turn(board))) ?? free(board));
  return any(free(board));
}

/** Return the fields that would complete a line for the player; null if there are none. */
function completing(board, player) {
  const moves = free(board).filter((index) => outcome(place(board, index, player)).winner === player);
  return moves.length ? moves : null;
}
