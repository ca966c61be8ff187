-- Hand values over as settings of the transaction, since bound parameters would take a read off COPY.
-- Takes: $1, a JSON object of setting names and their texts.
-- Gives: nothing that is read.
SELECT set_config(setting.name, setting.value, true)
FROM json_each_text($1::text::json) AS setting (name, value)
