"""How the HTML page looks: on a wide screen and on a phone, by day and by night, and on paper. One text, no request."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --sheet: #f5f6f8; --ink: #1b1f24; --dim: #57606a; --rule: #d5dae0; --link: #0b57b0;
  --well: #0f6127; --well-ground: #e7f5ea; --unsure: #7a4a00; --unsure-ground: #fff4d9;
  --ill: #a01022; --ill-ground: #fdeaec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --sheet: #1d2126; --ink: #e6e9ed; --dim: #a4adb8; --rule: #3a414a; --link: #8ec1ff;
    --well: #86e0a2; --well-ground: #14301d; --unsure: #f4c96b; --unsure-ground: #362a0c;
    --ill: #ff9da6; --ill-ground: #3d171c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: 1.1rem; font-weight: 600; color: var(--dim); }
h2 { margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); font-size: 1.3rem; }
p { margin: .6rem 0; max-width: 48rem; }
.lead { margin: .15rem 0 1.25rem; font-size: 1.5rem; font-weight: 600; line-height: 1.3; }
.lead, td, dd, li, .verdict { unicode-bidi: isolate; white-space: pre-line; }
ul { margin: .6rem 0; padding-left: 1.25rem; max-width: 48rem; }
li { margin: .25rem 0; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
code, pre, time { font-variant-numeric: tabular-nums; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em; }
code { white-space: pre-wrap; }
time { white-space: nowrap; }
.verdict { padding: .9rem 1.1rem; border-left: .4rem solid; border-radius: .3rem; white-space: normal; }
.verdict p { margin: 0; color: var(--ink); }
#verdict { font-size: 1.5rem; font-weight: 700; line-height: 1.3; }
.verdict.well { background: var(--well-ground); border-color: var(--well); }
.verdict.well #verdict { color: var(--well); }
.verdict.unsure { background: var(--unsure-ground); border-color: var(--unsure); }
.verdict.unsure #verdict { color: var(--unsure); }
.verdict.ill { background: var(--ill-ground); border-color: var(--ill); }
.verdict.ill #verdict { color: var(--ill); }
span.well, span.unsure, span.ill { font-weight: 600; }
td span.well, td span.unsure, td span.ill { white-space: nowrap; }
span.well { color: var(--well); }
span.unsure { color: var(--unsure); }
span.ill { color: var(--ill); }
span.dim { color: var(--dim); }
dl { display: flex; flex-wrap: wrap; margin: 1rem 0; border: 1px solid var(--rule); border-width: 1px 0 0 1px; }
dl div { flex: 1 1 10rem; padding: .6rem .9rem; border: 1px solid var(--rule); border-width: 0 1px 1px 0; }
dl div:nth-child(-n+3) { flex-basis: 24rem; }
dl div:first-child { flex-basis: 100%; }
dt { font-size: .82rem; color: var(--dim); }
dd { margin: 0; font-weight: 500; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 1rem 0 0; padding: 0; max-width: none;
  list-style: none; font-size: .9rem; }
nav li { margin: 0; }
.wide { margin: .9rem 0 1.4rem; overflow-x: auto; border: 1px solid var(--rule); border-radius: .3rem; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; line-height: 1.4; }
caption { padding: .55rem .75rem; background: var(--sheet); text-align: left; font-weight: 600; }
th, td { padding: .45rem .75rem; border-top: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { font-weight: 600; }
thead th { color: var(--dim); font-size: .82rem; white-space: nowrap; }
td, td code { overflow-wrap: break-word; }
td { max-width: min(26rem, 75vw); }
.pairs th { width: 11rem; color: var(--dim); font-weight: 500; }
.pairs td { max-width: none; overflow-wrap: anywhere; }
pre { margin: .9rem 0; padding: .9rem 1.1rem; border: 1px solid var(--rule); border-radius: .3rem;
  background: var(--sheet); white-space: pre-wrap; }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); color: var(--dim); font-size: .9rem; }
@media (max-width: 40rem) {
  body { padding: 1.25rem .9rem 3rem; }
  .lead, #verdict { font-size: 1.25rem; }
  .pairs th { width: auto; min-width: 6rem; }
}
@page { margin: 16mm 14mm; }
@media print {
  :root {
    color-scheme: light;
    --ground: #ffffff; --sheet: #ffffff; --ink: #000000; --dim: #333333; --rule: #999999; --link: #000000;
    --well: #000000; --well-ground: #ffffff; --unsure: #000000; --unsure-ground: #ffffff;
    --ill: #000000; --ill-ground: #ffffff;
  }
  body { padding: 0; max-width: none; font-size: 10pt; }
  nav { display: none; }
  a { text-decoration: none; }
  h2, caption { break-after: avoid; }
  tr, .verdict, dl div, li, pre { break-inside: avoid; }
  thead { display: table-header-group; }
  .wide { overflow: visible; border: 0; }
  table { font-size: 8pt; }
  th, td { padding: .25rem .35rem; }
  td, td code { overflow-wrap: anywhere; }
  thead th { font-size: 8pt; }
  caption { padding: .25rem .35rem; }
  time, thead th { white-space: normal; }
  .verdict { border: 1px solid var(--rule); }
}
"""
