//! A transform that claims the version of the contract, but with functions of other types.
#![allow(missing_docs)]

wit_bindgen::generate!({
    inline: "
        package rowgate:transform@0.1.0;

        interface handler {
            configure: func(params: list<tuple<string, string>>) -> result<_, string>;
            prepare: func(table: string) -> result<string, string>;
            apply: func(batch: list<string>) -> result<list<string>, string>;
        }

        world transform {
            export handler;
        }
    ",
});

pub struct Transform;

impl exports::rowgate::transform::handler::Guest for Transform {
    fn configure(_: Vec<(String, String)>) -> Result<(), String> {
        Ok(())
    }

    fn prepare(table: String) -> Result<String, String> {
        Ok(table)
    }

    fn apply(batch: Vec<String>) -> Result<Vec<String>, String> {
        Ok(batch)
    }
}

#[cfg(target_arch = "wasm32")]
export!(Transform);
