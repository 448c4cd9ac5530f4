// Filters, listings, deep links and copied commands. The page can be read without any of this.
(() => {
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const make = (tag, properties = {}, ...children) => {
	const element = Object.assign(document.createElement(tag), properties);
	element.append(...children);
	return element;
};
document.documentElement.classList.add('scripted');

// A run's column: unwinder, start, claims, then counters by these names.
const COUNTERS = ['walks', 'exact', 'cautious', 'incomplete', 'wrong', 'overstated', 'unsound', 'new', 'known', 'exempt'];
const FIRST_COUNTER = 3;
const STATES = ['judged', 'void as demanded', 'void', 'not judged', 'interrupted'];
const hasVerdicts = (run) => run.state === 0 || run.state === 4;
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, '\u202f');
const short = (number) => number < 10000 ? grouped(number) : `${Math.floor(number / 1000)}k`;
const percent = (part, whole) => part === 0 ? 0 : part >= whole ? 100 : Math.min(99, Math.max(1, Math.floor(part * 100 / whole)));

// ---- Filters -------------------------------------------------------------------------------------------------------------------

const form = document.getElementById('filters');
const wanted = () => Object.fromEntries(new FormData(form));

/** The sums of these runs by unwinder, from those of the wanted kind. */
function sums(runs, kind, into = new Map()) {
	for (const run of runs) {
		if (!hasVerdicts(run) || (kind && run.kind !== kind)) continue;
		for (const column of run.columns) {
			let sum = into.get(column[0]);
			if (!sum) into.set(column[0], sum = { claims: 0, ...Object.fromEntries(COUNTERS.map((name) => [name, 0])) });
			sum.claims |= column[2];
			COUNTERS.forEach((name, at) => { sum[name] += column[FIRST_COUNTER + at]; });
		}
	}
	return into;
}

function shows(sum, verdict) {
	return verdict === 'exact' ? sum.exact === sum.walks : sum[verdict] > 0;
}

function fill(cell, sum, isDimmed) {
	const body = cell.firstElementChild;
	if (!body) return;
	body.hidden = !sum;
	cell.classList.toggle('dimmed', Boolean(sum) && isDimmed);
	if (!sum) return;
	const badges = [['new', '▲', sum.new], ['known', '◆', sum.known], ['exempt', '◇', sum.exempt]]
		.filter(([, , number]) => number > 0).map(([kind, mark, number]) => [kind, `${mark} ${short(number)}`]);
	if (!badges.length) badges.push(sum.claims ? ['sound', '✓'] : ['na', 'n/a']);
	body.querySelector('.badges').replaceChildren(
		...badges.map(([kind, textContent]) => make('span', { className: `badge ${kind}`, textContent })));
	body.querySelector('.complete').textContent = `${percent(sum.exact, sum.walks)}%`;
	const bar = body.querySelector('.bar');
	bar.className = `bar ${sum.new ? 'new' : sum.known ? 'known' : 'exempt'}`;
	bar.style.setProperty('--e', percent(sum.exact, sum.walks));
	bar.style.setProperty('--u', percent(sum.unsound, sum.walks));
}

/** Whether a scenario is shown, and its sums. */
function judge(scenario, filter) {
	const of = (run) => !filter.kind || run.kind === filter.kind;
	const result = sums(scenario.runs, filter.kind);
	let isShown = (!filter.cpu || data.cpus[scenario.cpu].name === filter.cpu)
		&& scenario.name.toLowerCase().includes(filter.name.trim().toLowerCase()) && scenario.runs.some(of);
	if (filter.unwinder) isShown &&= result.has(Number(filter.unwinder));
	if (filter.verdict === 'void') isShown &&= scenario.runs.some((run) => of(run) && (run.state === 1 || run.state === 2));
	else if (filter.verdict === 'unjudged') isShown &&= scenario.runs.some((run) => of(run) && run.state === 3);
	else if (filter.verdict) {
		isShown &&= [...result].some(([unwinder, sum]) =>
			(!filter.unwinder || unwinder === Number(filter.unwinder)) && shows(sum, filter.verdict));
	}
	return { isShown, result };
}

const isSumVerdict = (verdict) => COUNTERS.includes(verdict);
const rows = new Map(all('.matrix tr[data-s]').map((row) => [Number(row.dataset.s), row]));
const folds = new Map(all('details.scenario').map((fold) => [Number(fold.dataset.s), fold]));

function apply() {
	const filter = wanted();
	const totals = data.cpus.map(() => new Map());
	let shown = 0;
	data.scenarios.forEach((scenario, number) => {
		const { isShown, result } = judge(scenario, filter);
		shown += isShown;
		const row = rows.get(number);
		row.hidden = folds.get(number).hidden = !isShown;
		if (!isShown) return;
		sums(scenario.runs, filter.kind, totals[scenario.cpu]);
		for (const cell of all('td[data-u]', row)) {
			const sum = result.get(Number(cell.dataset.u));
			fill(cell, sum, isSumVerdict(filter.verdict) && sum && !shows(sum, filter.verdict));
		}
	});
	for (const block of all('[data-cpu]')) block.hidden = Boolean(filter.cpu) && block.dataset.cpu !== filter.cpu;
	data.cpus.forEach((cpu, number) => {
		const total = document.querySelector(`#matrix [data-cpu="${cpu.name}"] tr.total`);
		all('td[data-u]', total).forEach((cell) => fill(cell, totals[number].get(Number(cell.dataset.u)), false));
	});
	all('.matrix [data-u]').forEach(byUnwinder);
	narrow(document, filter);
	document.getElementById('shown').textContent = `${shown} of ${data.scenarios.length} scenarios shown`;
}

function byUnwinder(cell) {
	const { unwinder } = wanted();
	cell.hidden = Boolean(unwinder) && cell.dataset.u !== unwinder;
}

/** The heads of starts are as wide as what is left of their columns. */
function spanStarts(strip) {
	const heads = all('thead tr:last-child th[data-u]', strip);
	const columns = columnsOf(strip);
	for (const head of all('tr.starts .start', strip)) {
		const own = heads.filter((other, at) => `@${data.starts[columns[at][1]]}` === head.textContent && !other.hidden);
		head.hidden = own.length === 0;
		head.colSpan = Math.max(1, own.length);
	}
}

/** Narrows the strips and listings below an element. */
function narrow(from, filter = wanted()) {
	const strips = from.matches?.('.strip') ? [from] : all('.strip', from);
	for (const strip of strips) {
		strip.hidden = Boolean(filter.kind) && !strip.dataset.k.split(' ').includes(filter.kind);
	}
	for (const cell of all('.listing [data-u]', from)) {
		byUnwinder(cell);
		const isAbout = !isSumVerdict(filter.verdict) || filter.verdict === 'walks' || cell.classList.contains(filter.verdict);
		cell.classList.toggle('dimmed', cell.tagName === 'TD' && !isAbout);
	}
	strips.filter((strip) => strip.querySelector('table')).forEach(spanStarts);
}

form.addEventListener('input', apply);
form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('reset', () => setTimeout(apply));

// ---- Listings: strips with a row for each instruction --------------------------------------------------------------------------

const KINDS = { s: 'skipped', t: 'truncated', u: 'substituted', i: 'invented', r: 'repeated', x: 'state', d: 'dead' };
const WORST = ['crashed', 'timeout', 'unsound', 'overstated', 'wrong', 'incomplete', 'cautious', 'exact', 'none'];
const STANDINGS = { n: 'new', k: 'known', e: 'exempt' };
const MARKS = { new: '▲', known: '◆', exempt: '◇' };

/** What a character of a strip means: its class, and its words. */
function meaning(symbol) {
	if (symbol === '=') return ['exact', 'exact, and claimed'];
	if (symbol === '~') return ['cautious', 'right, but flagged unreliable'];
	if (symbol === '#') return ['crashed', 'crashed'];
	if (symbol === '%') return ['timeout', 'timeout: it did not come back in time'];
	if (symbol === '.') return ['none', 'no walk'];
	const frames = symbol.match(/\d+/);
	if (frames) return ['incomplete', `stopped after ${frames[0]} right ${frames[0] === '1' ? 'frame' : 'frames'}, and said so`];
	const name = KINDS[symbol.toLowerCase()];
	if (symbol !== symbol.toUpperCase()) return ['wrong', `wrong (${name}), but flagged or without a claim`];
	return 'STU'.includes(symbol) ? ['unsound', `unsound: ${name}`] : ['overstated', `overstated: ${name}`];
}

/** The cells of a line: each a list of [symbol, arrivals]. One character stands for all arrivals. */
function cells(text, visits) {
	const found = [];
	for (const [token, stretches] of text.replaceAll(' ', '').matchAll(/\[([^\]]*)\]|"|\(\d+\)|./g)) {
		if (token === '"') found.push(found.at(-1));
		else if (stretches === undefined) found.push([[token, visits]]);
		else found.push(merged([...stretches.matchAll(/(\(\d+\)|.)(?:\*(\d+),?)?/g)].map(([, symbol, count]) => [symbol, Number(count ?? 1)])));
	}
	return found;
}

/** Neighbouring stretches of one symbol as one. */
function merged(stretches) {
	const found = [];
	for (const [symbol, count] of stretches) {
		if (found.at(-1)?.[0] === symbol) found.at(-1)[1] += count;
		else found.push([symbol, count]);
	}
	return found;
}

function worst(cell) {
	return cell.map(([symbol]) => symbol).reduce((one, other) =>
		WORST.indexOf(meaning(other)[0]) < WORST.indexOf(meaning(one)[0]) ? other : one);
}

function brief(cell) {
	const letters = cell.map(([symbol, count]) => symbol.repeat(Math.min(count, 4))).join('');
	return cell.length === 1 ? cell[0][0] : letters.length <= 3 ? letters : `${worst(cell)}…`;
}

/** The lines of a strip, by each offset that they stand for. */
function lines(strip, offsets) {
	const byOffset = new Map();
	for (const line of strip.querySelector('pre').textContent.split('\n').filter(Boolean)) {
		const [range, , visits, verdicts, standings = '', places = '', notes = ''] = line.split('|').map((field) => field.trim());
		const [first, last = first] = range.split('..').map((offset) => parseInt(offset.slice(1), 16));
		const parsed = { visits: Number(visits), cells: cells(verdicts, Number(visits)), standings, places, notes };
		offsets.filter((offset) => first <= offset && offset <= last).forEach((offset) => byOffset.set(offset, parsed));
	}
	return byOffset;
}

function listingRow(strip, columns, offset, text, line) {
	const row = make('tr');
	const place = `${nameOf(strip)}+0x${offset.toString(16)}`;
	row.dataset.p = place;
	const link = make('a', { href: `#${runsOf(strip)[0]}/${place}`, tabIndex: -1, textContent: `+0x${offset.toString(16)}` });
	row.append(make('th', { scope: 'row', title: text }, link, text));
	if (!line) {
		row.className = 'never';
		row.append(...columns.map(([unwinder]) => {
			const cell = make('td');
			cell.dataset.u = unwinder;
			return cell;
		}), make('td', { className: 'note' }));
		return row;
	}
	line.cells.forEach((cell, at) => {
		const td = make('td', { textContent: brief(cell) });
		const kinds = new Set(cell.map(([symbol]) => meaning(symbol)[0]));
		td.classList.add(...kinds);
		if (STANDINGS[line.standings[at]]) td.classList.add(STANDINGS[line.standings[at]]);
		if (columns[at - 1]?.[1] !== columns[at][1]) td.classList.add('start');
		td.dataset.u = columns[at][0];
		td.dataset.c = at;
		row.append(td);
	});
	const note = [`×${line.visits}`, line.notes, line.places].filter(Boolean).join('  ');
	row.append(make('td', { className: 'note', textContent: note }));
	row.line = line;
	return row;
}

const columnsOf = (strip) => data.columns[strip.dataset.c];
const nameOf = (strip) => strip.parentElement.dataset.f;
const runsOf = (strip) => strip.dataset.k.split(' ').map((kind) => `${strip.closest('.variant').dataset.a}/${kind}`);

const columnName = ([unwinder, start]) => data.unwinders[unwinder] + (start ? `@${data.starts[start]}` : '');

function expand(strip) {
	if (strip.querySelector('table')) return;
	const columns = columnsOf(strip);
	const instructions = data.listings[strip.dataset.l].split('\n').filter(Boolean).map((line) => {
		const space = line.indexOf(' ');
		return [parseInt(line.slice(0, space), 16), line.slice(space + 1)];
	});
	const byOffset = lines(strip, instructions.map(([offset]) => offset));
	const heads = columns.map(([unwinder, start], at) => {
		const head = make('th', { scope: 'col' }, make('span', { textContent: data.unwinders[unwinder] }));
		head.dataset.u = unwinder;
		head.classList.toggle('start', columns[at - 1]?.[1] !== start);
		return head;
	});
	const starts = [...new Set(columns.map(([, start]) => start))].map((start) => make('th', {
		scope: 'colgroup', className: 'start', textContent: `@${data.starts[start]}`,
		colSpan: columns.filter(([, other]) => other === start).length }));
	const table = make('table', { className: 'listing grid' },
		make('thead', {},
			make('tr', { className: 'starts' }, make('th'), ...starts, make('td')),
			make('tr', {}, make('th', { scope: 'col', textContent: 'instruction' }), ...heads,
				make('th', { scope: 'col', className: 'note', textContent: 'arrivals, address' }))),
		make('tbody', {}, ...instructions.map(([offset, text]) => listingRow(strip, columns, offset, text, byOffset.get(offset)))));
	const scroll = make('div', { className: 'scroll', role: 'region' }, table);
	scroll.setAttribute('aria-label', `Listing of ${nameOf(strip)}`);
	const pre = strip.querySelector('pre');
	pre.hidden = true;
	pre.before(scroll);
	enterable(table);
	narrow(strip);
}

/** Shows what a link leads to. */
let aim = null;

// Only what comes near the window becomes a table: a scenario can have a hundred of them.
const nearing = new IntersectionObserver((entries) => {
	for (const { isIntersecting, target } of entries) {
		if (!isIntersecting) continue;
		nearing.unobserve(target);
		expand(target);
	}
	aim?.();
}, { rootMargin: '800px' });

function counts(fold) {
	const place = fold.querySelector('.counts');
	if (!place || place.firstChild) return;
	const scenario = data.scenarios[fold.dataset.s];
	const heads = ['run', 'unwinder', ...COUNTERS];
	const body = make('tbody', {}, ...scenario.runs.filter(hasVerdicts).flatMap((run) => run.columns.map((column) =>
		make('tr', {}, ...[`${run.variant} ${run.kind}`.trim(), columnName(column), ...column.slice(FIRST_COUNTER).map(grouped)]
			.map((text) => make('td', { textContent: text }))))));
	const table = make('table', {}, make('thead', {}, make('tr', {}, ...heads.map((text) => make('th', { textContent: text })))), body);
	const scroll = make('div', { className: 'scroll', tabIndex: 0, role: 'region' }, table);
	scroll.setAttribute('aria-label', `Counts of ${scenario.name}`);
	const letters = make('p', { className: 'where', textContent: data.cpus[scenario.cpu].letters });
	place.append(make('details', {}, make('summary', { textContent: 'Counts of walks, by run and unwinder' }), scroll), letters);
}

for (const fold of folds.values()) {
	fold.addEventListener('toggle', () => {
		if (!fold.open) return;
		counts(fold);
		all('.strip', fold).forEach((strip) => nearing.observe(strip));
	});
}

// ---- Grids: the arrow keys move, Enter opens -----------------------------------------------------------------------------------

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const isStop = (cell) => Boolean(cell) && (cell.tagName === 'TD' || Boolean(cell.querySelector('a')))
	&& cell.textContent !== '' && !cell.hidden && !cell.classList.contains('note');

/** Makes one cell of a grid the one that Tab reaches. */
function enterable(table) {
	const cell = all('tbody td', table).find(isStop) ?? all('tbody th', table).find(isStop);
	if (cell) cell.tabIndex = 0;
}

function move(cell, [down, right]) {
	const table = cell.closest('table');
	const grid = all('tbody tr', table);
	let [row, column] = [grid.indexOf(cell.parentElement), cell.cellIndex];
	for (;;) {
		row += down;
		column += right;
		const next = grid[row]?.cells[column];
		if (!next) return;
		if (!isStop(next) || next.parentElement.hidden) continue;
		all('[tabindex="0"]', table).forEach((other) => { other.tabIndex = -1; });
		next.tabIndex = 0;
		next.focus();
		return;
	}
}

document.addEventListener('keydown', (event) => {
	const cell = event.target;
	if (event.key === 'Escape') closePoint();
	if (!(cell instanceof HTMLTableCellElement) || !cell.closest('.grid')) return;
	if (STEPS[event.key]) {
		event.preventDefault();
		move(cell, STEPS[event.key]);
	} else if (event.key === 'Enter' || event.key === ' ') {
		event.preventDefault();
		open(cell);
	}
});

function open(cell) {
	if (!isStop(cell)) return;
	const link = cell.querySelector('a');
	if (link) link.click();
	else if (cell.closest('.listing')) openPoint(cell);
	else openWindow(cell);
}

document.addEventListener('click', (event) => {
	const copy = event.target.closest('.copy');
	if (copy) return void copyCommand(copy);
	const cell = event.target.closest('.grid td');
	if (cell && !event.target.closest('a')) open(cell);
});

/** A cell of the windows leads to its instruction in a listing. */
function openWindow(cell) {
	if (cell.dataset.l) return void (location.hash = cell.dataset.l);
	const row = cell.parentElement;
	const offset = row.dataset.o.split(',')[cell.cellIndex - 1];
	if (offset) location.hash = `${row.dataset.a}/${cell.closest('table').dataset.f}+0x${offset}`;
}

let opener = null;

function closePoint() {
	const panel = document.getElementById('point');
	if (!panel) return;
	panel.remove();
	opener?.focus();
}

const quoted = (word) => /^[\w./+#:@=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** What happened at an instruction to one unwinder, and the command that explains it. */
function openPoint(cell) {
	closePoint();
	opener = cell;
	cell.tabIndex = cell.tabIndex === 0 ? 0 : -1;
	const strip = cell.closest('.strip');
	const { line } = cell.parentElement;
	const at = Number(cell.dataset.c);
	const column = columnsOf(strip)[at];
	const place = cell.parentElement.dataset.p;
	let [arrival, first] = [1, 1];
	const bad = worst(line.cells[at]);
	const list = make('ul');
	for (const [symbol, count] of line.cells[at]) {
		if (symbol === bad && list.dataset.found === undefined) [first, list.dataset.found] = [arrival, ''];
		const range = count === 1 ? `arrival ${arrival}` : `arrivals ${arrival} to ${arrival + count - 1}`;
		list.append(make('li', {}, make('code', { textContent: symbol }), ` ${meaning(symbol)[1]} (${range})`));
		arrival += count;
	}
	const standing = STANDINGS[line.standings[at]];
	if (standing) list.append(make('li', {}, make('span', { className: `badge ${standing}`, textContent: `${MARKS[standing]} ${standing}` })));
	if (line.places) list.append(make('li', { textContent: `the displaced return address: ${line.places}` }));
	if (line.notes) list.append(make('li', { textContent: line.notes }));
	const { t: target, v: variant } = strip.closest('.variant').dataset;
	const kind = wanted().kind || strip.dataset.k.split(' ')[0];
	const option = variant ? ` --variant ${quoted(variant)}` : '';
	const name = quoted(data.unwinders[column[0]]);
	const [run, ...last] = target.split(" -- "); // the arguments of a program stand last
	const point = quoted(`${place}#${first}`);
	const command = [`unwind-harness explain ${run} ${point} --interrupt ${kind}${option} --unwinder ${name}`, ...last].join(" -- ");
	const close = make('button', { type: 'button', textContent: 'Close', onclick: closePoint });
	const panel = make('aside', { id: 'point' },
		make('header', {}, make('p', {}, make('code', { textContent: place }), ` ${columnName(column)}`), close), list,
		make('p', { className: 'command' }, make('code', { textContent: command }),
			make('button', { type: 'button', className: 'copy', textContent: 'Copy' })));
	panel.setAttribute('role', 'dialog');
	panel.setAttribute('aria-label', `${place}, ${columnName(column)}`);
	document.body.append(panel);
	close.focus();
}

async function copyCommand(button) {
	const text = button.parentElement.querySelector('code').textContent;
	let isCopied = true;
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		// A page from a file may not have a clipboard; the old way still works.
		const area = make('textarea', { value: text });
		document.body.append(area);
		area.select();
		isCopied = document.execCommand('copy');
		area.remove();
	}
	button.textContent = isCopied ? 'Copied' : 'Failed';
	setTimeout(() => { button.textContent = 'Copy'; }, 2000);
}

// ---- Deep links ----------------------------------------------------------------------------------------------------------------

function unfold(element) {
	for (let fold = element.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
}

/** The row of `arm64/leaf/probe/leaf+0x8`. */
function rowOf(link) {
	const slash = link.lastIndexOf('/');
	const [run, place] = [link.slice(0, slash), link.slice(slash + 1)];
	const plus = place.lastIndexOf('+');
	if (slash < 0 || plus < 0) return null;
	const name = place.slice(0, plus);
	const strip = all('.strip').find((one) => nameOf(one) === name && runsOf(one).includes(run));
	if (!strip) return null;
	expand(strip);
	return all('tbody tr', strip).find((row) => row.dataset.p === place) ?? strip;
}

function follow() {
	const link = decodeURIComponent(location.hash.slice(1));
	if (!link) return;
	const target = document.getElementById(link) ?? rowOf(link);
	if (!target) return;
	if (target.closest('[hidden]')) form.reset();
	if (target.tagName === 'DETAILS') target.open = true;
	unfold(target);
	closePoint();
	all('.target').forEach((old) => old.classList.remove('target'));
	if (target.tagName === 'TR') target.classList.add('target');
	// What is above may become a table, and push it away, until the reader moves.
	aim = () => target.scrollIntoView({ block: target.tagName === 'TR' ? 'center' : 'start' });
	aim();
}

for (const name of ['wheel', 'touchmove', 'pointerdown', 'keydown']) addEventListener(name, () => { aim = null; }, { passive: true });

all('.matrix a').forEach((link) => { link.tabIndex = -1; });
all('table.grid').forEach(enterable);
addEventListener('hashchange', follow);
apply();
follow();
})();
