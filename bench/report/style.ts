/** The style sheet of the report, in light and dark, without any asset from outside. */
export const style = `
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2430; --soft: #5b6675; --line: #d9dfe7; --panel: #f5f7fa;
  --own: #1f5fd1; --bound: #8a94a3; --same: #0f8a6d; --weaker: #c9a227;
  --c0: #1f5fd1; --c1: #d1611f; --c2: #0f8a6d; --c3: #8b3fc7; --c4: #b3820b; --c5: #6b7685;
  --good: #0b6e4f; --good-paper: #dcf3ea; --fair: #7a5600; --fair-paper: #fbf0cf;
  --bad: #a1232b; --bad-paper: #fbe1e2; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #12161c; --ink: #e4e9f0; --soft: #9aa6b5; --line: #2c3542; --panel: #1a2029;
  --own: #6ea0ff; --bound: #7d8896; --same: #3fc5a0; --weaker: #e0bd4e;
  --c0: #6ea0ff; --c1: #ff9a5c; --c2: #3fc5a0; --c3: #c58cf5; --c4: #e0bd4e; --c5: #9aa6b5;
  --good: #7fe0bd; --good-paper: #103a2d; --fair: #f0d27a; --fair-paper: #3d3210;
  --bad: #ff9aa0; --bad-paper: #451a1e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 1000px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; } p { margin: .4rem 0 .8rem; max-width: 76ch; }
.soft, small, figcaption small { color: var(--soft); font-weight: normal; }
nav a { margin-right: 1rem; } a { color: var(--own); }
.summary { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: .6rem .9rem; min-width: 130px; } .tile b { display: block; font-size: 1.5rem; }
.tile.good b { color: var(--good); } .tile.fair b { color: var(--fair); }
.tile.bad b { color: var(--bad); }
.warning { background: var(--fair-paper); color: var(--fair); border-radius: 8px;
  padding: .5rem .9rem; margin: .5rem 0; }
.warning.bad { background: var(--bad-paper); color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; margin: .4rem 0 1rem; }
th, td { text-align: left; padding: .34rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; } th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th.n, td.n { text-align: right; } td.n, .whole { white-space: nowrap; }
td.n { font-variant-numeric: tabular-nums; }
tr.own td { font-weight: 600; } td small { display: block; }
.badge { display: inline-block; border-radius: 999px; padding: .05rem .6rem; white-space: nowrap;
  font-weight: 600; font-size: .82rem; background: var(--panel); color: var(--soft); }
.badge.goal { background: var(--good-paper); color: var(--good); }
.badge.first { background: var(--fair-paper); color: var(--fair); }
.badge.missed { background: var(--bad-paper); color: var(--bad); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 1rem; }
figure { margin: .4rem 0; background: var(--panel); border: 1px solid var(--line);
  border-radius: 8px; padding: .7rem .8rem; } figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); }
svg .tick, svg .axis, svg .note { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--line); } svg .label.own { font-weight: 700; }
svg .bar.own { fill: var(--own); } svg .bar.bound { fill: var(--bound); }
svg .bar.same { fill: var(--same); } svg .bar.weaker { fill: var(--weaker); }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; opacity: .75; }
svg .line polyline { fill: none; stroke-width: 2; }
${[0, 1, 2, 3, 4, 5]
  .map(
    (n) => `svg .c${n} polyline { stroke: var(--c${n}); }
svg .c${n} circle { fill: var(--c${n}); }
.k${n}::before { background: var(--c${n}); }`,
  )
  .join('\n')}
.legend { font-size: .82rem; color: var(--soft); }
.key { margin-right: .9rem; white-space: nowrap; }
.key::before { content: ''; display: inline-block; width: .75rem;
  height: .75rem; border-radius: 2px; margin-right: .35rem; vertical-align: -1px; }
.key.own::before { background: var(--own); } .key.bound::before { background: var(--bound); }
.key.same::before { background: var(--same); } .key.weaker::before { background: var(--weaker); }
details { margin: .2rem 0 1.2rem; }
summary { cursor: pointer; color: var(--soft); font-size: .87rem; }
`;
