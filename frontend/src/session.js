// The token of the session that a page was loaded in; a changing request is refused without it.
export const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";
