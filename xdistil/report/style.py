"""The style sheet of report.html."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --card: #ffffff; --ink: #1c2024; --quiet: #646b73; --line: #e3e4e1;
  --teacher: #9aa5b4; --student: #0d7d74; --dev: #c2571a; --track: #eef0ee;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1c2125; --ink: #e8eaec; --quiet: #9aa3ab; --line: #30373d;
    --teacher: #6f7c8c; --student: #3cc0b2; --dev: #f0935a; --track: #262d32;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
  -webkit-print-color-adjust: exact; print-color-adjust: exact;
}
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header { margin-bottom: 2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 1rem; }
h3 { font-size: .85rem; font-weight: 600; margin: 0 0 .25rem; }
p { margin: 0 0 .75rem; }
.quiet, figcaption { color: var(--quiet); font-size: .875rem; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin-bottom: .75rem; }
.card, section {
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
}
.card { flex: 1 1 8.4rem; padding: .9rem; }
.card b { display: block; font-size: 1.7rem; line-height: 1.2; font-weight: 650; }
.card span { display: block; color: var(--quiet); font-size: .8rem; }
.card.main b { color: var(--student); }
section { padding: 1.25rem; margin-top: .75rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td {
  text-align: right; white-space: nowrap; padding: .35rem .6rem;
  border-bottom: 1px solid var(--line);
}
th { color: var(--quiet); font-weight: 500; }
tr:last-child td { border-bottom: 0; }
th.text, td.text { text-align: left; }
td.text + td.text { white-space: normal; overflow-wrap: anywhere; min-width: 11rem; }
.key { display: inline-block; width: .75em; height: .75em; border-radius: .2em; }
.key.teacher, .bar.teacher { background: var(--teacher); }
.key.student, .bar.student { background: var(--student); }
.key.dev { background: var(--dev); }
.legend { display: flex; gap: 1.25rem; margin-bottom: .75rem; font-size: .85rem; }
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.language { display: flex; align-items: center; gap: .75rem; padding: .3rem 0; }
.language > .code { flex: 0 0 3.5rem; font-weight: 600; overflow-wrap: anywhere; }
.language > .bars { flex: 1 1 auto; }
.language > .kept { flex: 0 0 6rem; text-align: right; font-size: .85rem; color: var(--quiet); }
.row { display: flex; align-items: center; gap: .5rem; font-size: .78rem; line-height: 1.1rem; }
.row > .track { flex: 1 1 auto; background: var(--track); border-radius: .2rem; }
.row > .value { flex: 0 0 2.8rem; text-align: right; }
.bar { height: .7rem; border-radius: .2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
.charts figure { max-width: 30rem; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
details > summary { cursor: pointer; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; margin: .75rem 0 0; }
footer { margin-top: 1.5rem; }
@media print { body { background: none; } section, .card { break-inside: avoid; } }
"""
