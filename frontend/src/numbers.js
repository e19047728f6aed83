// Numbers as readers type them: with a decimal comma, too.
export const numberOf = (text) => (text.trim() ? Number(text.trim().replace(",", ".")) : NaN);

// Three sizes, with commas, semicolons or spaces between them: 0.9,0.9,6.5 or 0,9 0,9 6,5.
export function sizesOf(text) {
  const parts = text.trim().split(/\s*;\s*|,?\s+/);
  return parts.length > 1 ? parts.map((part) => part.replace(",", ".")).join(",") : text.trim();
}
