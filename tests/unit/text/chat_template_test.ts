import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { toPlainMessages } from "../../../src/text/chat_message.ts";
import { ChatTemplate } from "../../../src/text/chat_template.ts";
import { TextError } from "../../../src/text/text_error.ts";

const TOKENS = { bos_token: "<s>", eos_token: "</s>" };
const CONVERSATION = [
  { role: "system", content: "Be brief." },
  { role: "user", content: " Hi " },
];

const LLAMA3 = `{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}`;

const CHATML = `{% for message in messages %}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}
{% endif %}`;

const MISTRAL = `{{ bos_token }}{% for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Roles must alternate') }}
{%- endif %}
{%- if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}
{%- else %}{{ ' ' + message['content'] + eos_token }}{% endif %}
{%- endfor %}`;

Deno.test("a template with headers writes the begin token and the generation prompt", () => {
  const template = new ChatTemplate(LLAMA3, TOKENS);
  const system = "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>";
  const user = "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>";
  const prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n";
  assertEquals(template.render(CONVERSATION), system + user + prompt);
  assertEquals(template.render(CONVERSATION, { addGenerationPrompt: false }), system + user);
});

Deno.test("template variables reach the template, taken names are refused", () => {
  const template = new ChatTemplate(CHATML, TOKENS);
  assertEquals(
    template.render([{ role: "user", content: "Hi" }], {
      templateVariables: { enable_thinking: false },
    }),
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think></think>",
  );
  for (const name of ["messages", "bos_token", "range", "namespace"]) {
    assertThrows(
      () => template.render(CONVERSATION, { templateVariables: { [name]: 1 } }),
      TextError,
      `name is taken: ${name}`,
    );
  }
});

Deno.test("raise_exception gives its message", () => {
  const template = new ChatTemplate(MISTRAL, TOKENS);
  const turns = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
    { role: "user", content: "c" },
  ];
  assertEquals(template.render(turns), "<s>[INST] a [/INST] b</s>[INST] c [/INST]");
  const error = assertThrows(
    () => template.render(CONVERSATION),
    TextError,
    "Roles must alternate",
  );
  assertEquals((error as TextError).reason, "template");
});

Deno.test("the final message is left open when it is continued", () => {
  const messages = [{ role: "user", content: "Hi" }, { role: "assistant", content: "Well, " }];
  const template = new ChatTemplate(CHATML, TOKENS);
  assertEquals(
    template.render(messages, { continueFinalMessage: true }),
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWell, ",
  );
  assertThrows(
    () => template.render(messages, { continueFinalMessage: true, addGenerationPrompt: true }),
    TextError,
    "at once",
  );
  const blind = new ChatTemplate("{{ messages[0].content }}", TOKENS);
  assertThrows(
    () => blind.render(messages, { continueFinalMessage: true }),
    TextError,
    "does not render it",
  );
});

Deno.test("generation blocks, tools and dates are as in transformers", () => {
  const source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}" +
    "{% endfor %}|{{ tools is none }}|{{ strftime_now('%d %b %Y %%') }}";
  const text = new ChatTemplate(source, TOKENS).render([{ role: "user", content: "x" }]);
  assertMatch(
    text,
    /^x\|(true|True)\|\d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} %$/,
  );
});

Deno.test("templates that fail or ask for too much are refused", () => {
  const render = (source: string) => new ChatTemplate(source, TOKENS).render(CONVERSATION);
  assertThrows(() => render("{% for x %}"), TextError, "Cannot parse the chat template");
  assertThrows(() => render("{{ messages | nonsense }}"), TextError, "Cannot render");
  assertThrows(() => render("{{ range(1000000000) }}"), TextError, "range of more than");
  assertThrows(() => render("{{ range(1, 2, 0) }}"), TextError, "range of more than");
  assertEquals(
    render(
      "{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(5, 1, -2) %}{{ i }}{% endfor %}",
    ),
    "01253",
  );
});

Deno.test("text parts are joined, other parts named and refused", () => {
  const parts = [{ type: "text", text: "a" }, { type: "text", text: "b" }];
  assertEquals(toPlainMessages([{ role: "user", content: parts, name: "n" }]), [
    { role: "user", content: "a\nb", name: "n" },
  ]);
  assertThrows(
    () => toPlainMessages([{ role: "user", content: [{ type: "image_url" }] }]),
    TextError,
    '"image_url"',
  );
  assertThrows(() => toPlainMessages([]), TextError, "no messages");
});
