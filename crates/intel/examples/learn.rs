//! `cargo xtask learn intent [DATA]`: writes `content/intel/attack.txt`, `content/intel/flows.txt` and
//! `content/models/intent.txt` from `DATA/attack/enterprise.json` and `DATA/attack-flow/*.afb`.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use vertice_intel::{Facts, evaluate, learn, model_text};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::args().nth(1).map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let mut flows = Vec::new();
    for path in fs::read_dir(data.join("attack-flow"))?.flatten().map(|e| e.path()) {
        if path.extension().is_some_and(|e| e == "afb") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            flows.push((name, fs::read_to_string(&path)?));
        }
    }
    flows.sort();
    let enterprise = fs::read_to_string(data.join("attack/enterprise.json"))?;
    let learned = learn::learn(&enterprise, &flows)?;
    let content = root.join("content");
    let progression = fs::read_to_string(content.join("intel/progression.txt"))?;
    let facts = Facts::parse(&learned.attack, &learned.flows, &progression)?;
    let evaluation = evaluate::evaluate(&facts);
    write(&content.join("intel/attack.txt"), &learned.attack)?;
    write(&content.join("intel/flows.txt"), &learned.flows)?;
    write(&content.join("models/intent.txt"), &model_text(&facts, &evaluation))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    fs::File::create(path)?.write_all(text.as_bytes())
}
