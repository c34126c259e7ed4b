// What plain HTML forms can't do: PUT, PATCH and DELETE, and bodies of JSON.
"use strict";

const tokenOf = (form) => form?.elements.csrfmiddlewaretoken?.value
  ?? document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";

const send = async (method, body, token, then) => {
  const headers = { Accept: "text/html", "X-CSRFToken": token };
  if (typeof body === "string") {
    headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(location.href, { method, headers, body, credentials: "same-origin" });
  if (answer.status === 204) {
    location.assign(then || location.href);
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.querySelector("main").replaceWith(page.querySelector("main") ?? page.body);
  document.title = page.title;
  scrollTo(0, 0);
};

// A box of files that was left empty means that they stay, and not that there are none.
const filled = (form) => {
  const data = new FormData(form);
  for (const box of form.querySelectorAll("input[type=file]")) {
    if (!box.files.length) {
      data.delete(box.name);
    }
  }
  return data;
};

addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches(".query")) {
    for (const input of form.elements) {
      input.disabled = input.tagName === "INPUT" && input.value === "";
    }
    return;
  }
  const method = form.dataset.method;
  if (!method) {
    return;
  }
  event.preventDefault();
  const json = "json" in form.dataset;
  send(method, json ? form.elements.body.value : filled(form), tokenOf(form));
});

addEventListener("click", (event) => {
  const button = event.target.closest("button[data-method]");
  if (button && confirm(button.dataset.ask)) {
    send(button.dataset.method, undefined, tokenOf(), button.dataset.then);
  }
});
