//! Which file, which layers, and which of them an option came from.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format as _, Toml},
    value::{Dict, Map, Value},
};

use crate::{Config, ConfigError, check, error::without_text, raw::Raw};

const EMBEDDED: &str = include_str!("../embedded.toml");
const DEMO: &str = include_str!("../demo.toml");
const EMBEDDED_NAME: &str = "the embedded default";
const ENVIRONMENT: &str = "the environment";
/// The sections that a file may leave to the embedded default.
const LENT: [&str; 3] = ["ledger", "queue", "kek"];

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was set.
    pub config: Config,
    /// Where most of it was set.
    pub origin: Origin,
}

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There was no file.
    Embedded,
    /// This file.
    File(PathBuf),
}

impl Config {
    /// The configuration of this process: `path`, else the file in `RESEAL_CONFIG`, else
    /// `./reseal.toml` if there is one, else the embedded default; `RESEAL__SECTION__KEY` on top.
    ///
    /// A file that leaves out `[ledger]`, `[queue]` or `[kek]` gets that section from the embedded
    /// default. Relative paths stay relative to the working directory.
    pub fn load(path: Option<&Path>) -> Result<Loaded, ConfigError> {
        let env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self::load_from(path, env)
    }

    /// [`Config::load`] with this environment instead of the process's own.
    pub fn load_from(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
        let env: BTreeMap<String, String> =
            env.filter(|(name, value)| !value.is_empty() || name.starts_with("RESEAL__")).collect();
        let named = path.map(PathBuf::from).or_else(|| env.get("RESEAL_CONFIG").map(PathBuf::from));
        let unnamed = || Some(PathBuf::from("reseal.toml")).filter(|file| file.exists());
        let Some(file) = named.or_else(unnamed) else {
            let layers = Layers::new(EMBEDDED_NAME, embedded(&env)?, &env);
            return Ok(Loaded { config: layers.config()?, origin: Origin::Embedded });
        };
        let text = fs::read_to_string(&file).map_err(|source| ConfigError::Read { path: file.clone(), source })?;
        let name = file.display().to_string();
        let mut dict = parse(&name, &text)?;
        if LENT.iter().any(|section| !dict.contains_key(*section)) {
            // Without a home folder, only what is then missing is an error.
            for (section, value) in embedded(&env).unwrap_or_default() {
                if LENT.contains(&section.as_str()) {
                    dict.entry(section).or_insert(value);
                }
            }
        }
        let config = Layers::new(&name, dict, &env).config()?;
        Ok(Loaded { config, origin: Origin::File(file) })
    }

    /// The demo's configuration: everything in the folder `data`, nothing from the environment.
    pub fn demo(data: &Path) -> Config {
        let dict = parse("the demo", DEMO).and_then(|dict| {
            Layers::new("the demo", in_folder(dict, &data.to_string_lossy()), &BTreeMap::new()).config()
        });
        dict.expect("demo.toml is part of this binary and tested")
    }
}

fn parse(name: &str, text: &str) -> Result<Dict, ConfigError> {
    Toml::from_str(text).map_err(|e| ConfigError::syntax(name, &e.to_string()))
}

fn embedded(env: &BTreeMap<String, String>) -> Result<Dict, ConfigError> {
    let under = |name: &str, folder: &str| env.get(name).map(|home| format!("{home}/{folder}"));
    let data = env
        .get("RESEAL_DATA_DIR")
        .cloned()
        .or_else(|| under("XDG_DATA_HOME", "reseal"))
        .or_else(|| under("HOME", ".local/share/reseal"))
        .ok_or(ConfigError::NoDataFolder)?;
    let mut dict = in_folder(parse(EMBEDDED_NAME, EMBEDDED)?, &data);
    // A default is no second opinion: naming a file for the URL replaces it.
    for section in ["ledger", "queue"] {
        let url_file = format!("RESEAL__{}__URL_FILE", section.to_uppercase());
        if let (true, Some(Value::Dict(_, keys))) = (env.contains_key(&url_file), dict.get_mut(section)) {
            keys.remove("url");
        }
    }
    Ok(dict)
}

/// Puts the folder where `{data}` stands. After parsing, so that no folder's name can be TOML.
fn in_folder(dict: Dict, data: &str) -> Dict {
    fn fill(value: Value, data: &str) -> Value {
        match value {
            Value::String(tag, text) if text.starts_with("sqlite:") => {
                // the driver cuts at `?` and decodes percents
                let path = data.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
                Value::String(tag, text.replace("{data}", &path))
            }
            Value::String(tag, text) => Value::String(tag, text.replace("{data}", data)),
            Value::Dict(tag, dict) => Value::Dict(tag, in_folder(dict, data)),
            Value::Array(tag, items) => Value::Array(tag, items.into_iter().map(|item| fill(item, data)).collect()),
            other => other,
        }
    }
    dict.into_iter().map(|(key, value)| (key, fill(value, data))).collect()
}

/// A file under the environment.
pub(crate) struct Layers {
    figment: Figment,
    name: String,
}

impl Layers {
    fn new(name: &str, file: Dict, env: &BTreeMap<String, String>) -> Self {
        let mut figment = Figment::from(Layer { name: name.to_owned(), dict: file });
        for (variable, value) in env {
            let Some(key) = variable.strip_prefix("RESEAL__") else {
                continue;
            };
            let value = value.parse().unwrap_or_else(|never| match never {});
            let nested = figment::util::nest(&key.to_lowercase().replace("__", "."), value);
            if let Value::Dict(_, dict) = nested {
                figment = figment.merge(Layer { name: ENVIRONMENT.to_owned(), dict });
            }
        }
        Self { figment, name: name.to_owned() }
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let merged: serde_json::Value =
            self.figment.extract().map_err(|e| ConfigError::syntax(&self.name, &e.to_string()))?;
        let raw: Raw = serde_path_to_error::deserialize(merged).map_err(|e| {
            let option = e.path().to_string();
            self.refuse(&option, &without_text(&e.inner().to_string()))
        })?;
        check::config(raw, self)
    }

    /// An error that names the option and the layer that set it.
    pub(crate) fn refuse(&self, option: &str, reason: &str) -> ConfigError {
        let key = option.split('[').next().unwrap_or(option);
        let origin = match self.figment.find_metadata(key) {
            Some(metadata) if metadata.name == ENVIRONMENT => {
                format!("environment variable RESEAL__{}", key.to_uppercase().replace('.', "__"))
            }
            _ => self.name.clone(),
        };
        ConfigError::option(option, origin, reason)
    }
}

struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}
