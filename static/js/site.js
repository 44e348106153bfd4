// For every page: local times, and forms that are sent only once.

import { localize } from "./local-times.js";

localize(document);

addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-once]") || event.defaultPrevented) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  // Not `disabled`: a disabled button's value would not be sent.
  event.submitter?.setAttribute("aria-disabled", "true");
});

// The back button restores the page as the visitor left it. Its form may be sent again; its key makes that harmless.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("button[aria-disabled]")) button.removeAttribute("aria-disabled");
});
