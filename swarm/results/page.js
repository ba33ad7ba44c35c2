"use strict";
(function () {
  var narrow = window.matchMedia("(max-width: 600px)").matches;
  var config = {displayModeBar: false, responsive: true};

  function stored(name) {
    return JSON.parse(document.getElementById(name + "-data").textContent);
  }

  /* On a phone a finger scrolls the page, and the legend has rows of its own. */
  function fitted(data, layout) {
    if (narrow) {
      var entries = data.filter(function (trace) { return trace.showlegend !== false; }).length;
      layout.dragmode = false;
      layout.height += 16 * Math.max(0, entries - 3);
      layout.legend = Object.assign({}, layout.legend, {font: {size: 11}});
      layout.margin = Object.assign({}, layout.margin, {l: 4, r: 8});
    }
    return layout;
  }

  /* Steps of one side of the market, [MW, price, index of its kind], as one line per kind. */
  function supply(tick, kinds) {
    var lines = {}, at = 0;
    tick.supply.forEach(function (step) {
      var line = lines[step[2]] || (lines[step[2]] = {x: [], y: []});
      line.x.push(at, at + step[0], null);
      line.y.push(step[1], step[1], null);
      at += step[0];
    });
    return Object.keys(lines).map(function (index) {
      var kind = kinds[index];
      return {x: lines[index].x, y: lines[index].y, mode: "lines+markers", name: kind.name,
        line: {color: kind.colour, width: 4}, connectgaps: false,
        marker: {symbol: kind.symbol, size: 6, color: kind.colour},
        hovertemplate: "%{x:.4~g} MW<br>%{y:,.5~g}"};
    });
  }

  function stairs(steps, look) {
    var x = [], y = [], at = 0;
    steps.forEach(function (step) {
      x.push(at, at + step[0]);
      y.push(step[1], step[1]);
      at += step[0];
    });
    return Object.assign({x: x, y: y, mode: "lines"}, look);
  }

  function meritTraces(tick, kinds) {
    var traces = [
      stairs(tick.supply, {line: {color: "#777", width: 1}, showlegend: false, hoverinfo: "skip"})
    ].concat(supply(tick, kinds));
    if (tick.demand.length) {
      traces.push(stairs(tick.demand, {name: "demand", hovertemplate: "%{x:.4~g} MW<br>%{y:,.5~g}",
        line: {color: "#000", width: 2, dash: "dash"}}));
    }
    if (tick.price !== null) {
      traces.push({x: [tick.volume], y: [tick.price], mode: "markers", name: "cleared",
        marker: {symbol: "star", size: 15, color: "#fff", line: {color: "#000", width: 2}},
        hovertemplate: "%{x:.4~g} MW<br>%{y:,.5~g}"});
    }
    return traces;
  }

  function meritOrder(holder, figure) {
    var chosen = document.getElementById(holder.id + "-tick");
    var all = document.getElementById(holder.id + "-all");
    function show() {
      var tick = figure.merit.ticks[chosen.selectedIndex];
      var layout = JSON.parse(JSON.stringify(figure.layout));
      if (all.getAttribute("aria-pressed") === "false") { layout.yaxis.range = tick.range; }
      var data = meritTraces(tick, figure.merit.kinds);
      return Plotly.react(holder, data, fitted(data, layout), config);
    }
    function move(by) {
      var count = chosen.options.length;
      chosen.selectedIndex = (chosen.selectedIndex + by + count) % count;
      show();
    }
    chosen.addEventListener("change", show);
    document.getElementById(holder.id + "-before").addEventListener("click", function () {
      move(-1);
    });
    document.getElementById(holder.id + "-after").addEventListener("click", function () {
      move(1);
    });
    all.addEventListener("click", function () {
      all.setAttribute("aria-pressed", String(all.getAttribute("aria-pressed") === "false"));
      show();
    });
    return show();
  }

  var holders = Array.prototype.slice.call(document.querySelectorAll(".plot"));
  var drawn = holders.map(function (holder) {
    var figure = stored(holder.id);
    if (figure.merit) { return meritOrder(holder, figure); }
    return Plotly.newPlot(holder, figure.data, fitted(figure.data, figure.layout), config);
  });
  Promise.all(drawn).then(function () { document.body.dataset.drawn = String(drawn.length); });
}());
