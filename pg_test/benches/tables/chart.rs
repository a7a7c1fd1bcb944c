//! The application's latency over time, as SVG: a strip for each way, all of one scale.

use std::path::Path;

use pg_test::{During, Failure};
use plotters::prelude::*;

use crate::figures::ms;
use crate::play::Record;

const WIDTH: u32 = 900;
const TITLE: u32 = 34;
const STRIP: u32 = 104;
/// Below the last strip: the numbers of the time axis.
const AXIS: u32 = 30;

/// Shown before and after what was measured, in seconds.
const MARGIN: f64 = 0.5;

const LINE: RGBColor = RGBColor(31, 119, 180);
const DONE: RGBColor = RGBColor(214, 39, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const INK: RGBColor = RGBColor(60, 60, 60);

/// Draws `benches/{name}.svg`.
pub fn draw(name: &str, title: &str, records: &[Record]) -> Result<(), Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/{name}.svg"));
    let what = || format!("draw {}", path.display());
    let height = TITLE + STRIP * records.len() as u32 + AXIS;
    let sheet = SVGBackend::new(&path, (WIDTH, height)).into_drawing_area();
    sheet.fill(&WHITE).during(what())?;
    let style = ("sans-serif", 16).into_font().color(&INK);
    sheet.draw_text(title, &style, (12, 10)).during(what())?;
    let (_, below) = sheet.split_vertically(TITLE);
    let longest = records
        .iter()
        .map(|record| record.felt.span())
        .fold(0.0, f64::max);
    let mut rest = below;
    for (i, record) in records.iter().enumerate() {
        let is_last = i + 1 == records.len();
        let (strip, others) = rest.split_vertically(STRIP + if is_last { AXIS } else { 0 });
        draw_strip(&strip, record, longest, is_last).during(what())?;
        rest = others;
    }
    sheet.present().during(what())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_strip(
    strip: &Area,
    record: &Record,
    longest: f64,
    is_last: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let caption = format!(
        "{}: DDL after {}, slowest request {}",
        record.name,
        record.time(),
        ms(record.felt.worst())
    );
    let mut chart = ChartBuilder::on(strip)
        .caption(caption, ("sans-serif", 13).into_font().color(&INK))
        .margin_left(12)
        .margin_right(16)
        .y_label_area_size(52)
        .x_label_area_size(if is_last { AXIS } else { 0 })
        .build_cartesian_2d(-MARGIN..longest + MARGIN, (0.1f64..100_000.0).log_scale())?;
    let labels = ("sans-serif", 11).into_font().color(&INK);
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(labels)
        .y_labels(4)
        .y_label_formatter(&|ms| latency(*ms))
        .x_labels(12)
        .x_label_formatter(&|seconds| format!("{seconds:.0} s"));
    mesh.draw()?;
    if let Some(took) = record.took {
        let at = took.as_secs_f64();
        chart.draw_series(LineSeries::new(
            [(at, 0.1), (at, 100_000.0)],
            DONE.stroke_width(1),
        ))?;
    }
    chart.draw_series(LineSeries::new(record.felt.curve(), LINE.stroke_width(2)))?;
    Ok(())
}

/// The labels of the axis: powers of ten of a millisecond.
fn latency(ms: f64) -> String {
    if ms >= 1000.0 {
        format!("{:.0} s", ms / 1000.0)
    } else if ms >= 1.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{ms:.1} ms")
    }
}
