//! The application's latency over time, as SVG: a strip for each way, all of one scale.

use std::path::Path;

use pg_test::{During, Failure};
use plotters::prelude::*;

use crate::figures::{ms, seconds};
use crate::play::{LEAD, Record};

const WIDTH: u32 = 900;
const TITLE: u32 = 34;
const STRIP: u32 = 104;
/// Below the last strip: the numbers of the time axis.
const AXIS: u32 = 30;

/// Above each strip: whose it is.
const CAPTION: u32 = 22;
/// Left of each strip: the numbers of the latency axis.
const LEFT: i32 = 64;

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
    sheet.draw_text(title, &style, (LEFT, 10)).during(what())?;
    let (_, below) = sheet.split_vertically(TITLE);
    let curves: Vec<Curve> = records
        .iter()
        .map(|record| record.felt.curve(LEAD))
        .collect();
    let ends = curves.iter().filter_map(|curve| curve.last());
    let longest = ends.map(|(seconds, _)| *seconds).fold(0.0, f64::max);
    let mut rest = below;
    for (i, (record, curve)) in records.iter().zip(curves).enumerate() {
        let is_last = i + 1 == records.len();
        let (strip, others) = rest.split_vertically(STRIP + if is_last { AXIS } else { 0 });
        draw_strip(&strip, record, curve, longest, is_last).during(what())?;
        rest = others;
    }
    sheet.present().during(what())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Seconds and milliseconds.
type Curve = Vec<(f64, f64)>;

fn draw_strip(
    strip: &Area,
    record: &Record,
    curve: Curve,
    longest: f64,
    is_last: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let end = match record.took {
        Some(took) => format!("the DDL done after {}", seconds(took)),
        None => "given up".to_owned(),
    };
    let caption = format!(
        "{}: {end}, the slowest request {}",
        record.name,
        ms(record.felt.worst())
    );
    let style = ("sans-serif", 14).into_font().color(&INK);
    strip.draw_text(&caption, &style, (LEFT, 4))?;
    let mut chart = ChartBuilder::on(strip)
        .margin_top(CAPTION)
        .margin_right(16)
        .y_label_area_size(LEFT)
        .x_label_area_size(if is_last { AXIS } else { 0 })
        .build_cartesian_2d(
            -LEAD.as_secs_f64()..longest,
            (0.1f64..100_000.0).log_scale(),
        )?;
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
    chart.draw_series(LineSeries::new(curve, LINE.stroke_width(2)))?;
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
