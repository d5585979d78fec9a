set -e

cat > city.schema.json <<'END'
{
  "type": "object",
  "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
  "required": ["city", "population"],
  "additionalProperties": false
}
END
printf '%s\n' '{"country": "France"}' '{"country": "Japan"}' > countries.jsonl

foxapi batch run countries.jsonl -o cities.jsonl --model gpt-5.5 \
  --prompt 'The largest city of {country}?' --system 'Answer as {"city": ..., "population": ...}.' \
  --schema city.schema.json
cat cities.jsonl
