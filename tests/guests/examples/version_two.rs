//! A transform for a version of the contract that does not exist.
#![allow(missing_docs)]

wit_bindgen::generate!({
    inline: "
        package rowgate:transform@0.2.0;

        interface handler {
            configure: func(params: list<tuple<string, string>>) -> result<_, string>;
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
}

#[cfg(target_arch = "wasm32")]
export!(Transform);
