#include "kernel_entries.h"

#include <cctype>
#include <stdexcept>

namespace cuda_emulator {

namespace {

const std::string kGlobal = "__global__";
const std::string kLaunchBounds = "__launch_bounds__";
const std::string kAttribute = "__attribute__";
const std::string kMostThreads = "1024";

bool is_name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Reads C++ after the preprocessor: no comments, but line markers.
class Reader {
 public:
  explicit Reader(std::string& text, std::size_t at) : text_(text), at_(at) {}

  std::size_t at() const { return at_; }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    for (;;) {
      while (std::isspace(static_cast<unsigned char>(peek()))) at_++;
      if (peek() != '#' || !starts_line()) return;
      while (peek() != '\n' && peek() != '\0') at_++;
    }
  }

  // A name, or nothing where there is none.
  std::string name() {
    skip_space();
    const std::size_t begin = at_;
    while (is_name_character(peek())) at_++;
    return text_.substr(begin, at_ - begin);
  }

  // Past a string or character literal, or one other character.
  void skip_element() {
    const char quote = peek();
    at_++;
    if (quote != '"' && quote != '\'') return;
    while (peek() != quote && peek() != '\0') at_ += peek() == '\\' ? 2 : 1;
    at_++;
  }

  // Past what brackets enclose; the reader stands on the opening one. Returns the end of the first
  // part before a comma.
  std::size_t skip_brackets() {
    int depth = 0;
    std::size_t comma = 0;
    do {
      skip_space();
      const char c = peek();
      if (c == '\0') throw std::runtime_error("a bracket is not closed");
      if (c == '(' || c == '{' || c == '[') depth++;
      if (c == ')' || c == '}' || c == ']') depth--;
      if (c == ',' && depth == 1 && comma == 0) comma = at_;
      skip_element();
    } while (depth > 0);
    return comma == 0 ? at_ - 1 : comma;
  }

 private:
  bool starts_line() const {
    std::size_t before = at_;
    while (before > 0 && (text_[before - 1] == ' ' || text_[before - 1] == '\t')) before--;
    return before == 0 || text_[before - 1] == '\n';
  }

  std::string& text_;
  std::size_t at_;
};

void blank(std::string& text, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; i++) {
    if (text[i] != '\n') text[i] = ' ';
  }
}

bool follows_extern_c(const std::string& text, std::size_t at) {
  const auto back_over_space = [&text](std::size_t end) {
    while (end > 0 && std::isspace(static_cast<unsigned char>(text[end - 1]))) end--;
    return end;
  };
  const std::size_t end = back_over_space(at);
  if (end < 3 || text.compare(end - 3, 3, "\"C\"") != 0) return false;
  const std::size_t word = back_over_space(end - 3);
  return word >= 6 && text.compare(word - 6, 6, "extern") == 0;
}

std::string entry_of(const std::string& kernel, const std::string& max_threads) {
  const std::string entry = "cuda_emulator_entry_" + kernel;
  return " static constexpr ::cuda_emulator::Kernel " + entry +
         " = ::cuda_emulator::make_kernel<&" + kernel + ">(\"" + kernel + "\", " + max_threads +
         "); static const ::cuda_emulator::Kernel* const " + entry +
         "_address __attribute__((section(\"weft_kernels\"), used)) = &" + entry + ";";
}

// Handles the kernel whose __global__ stands at `at`; returns where to look for the next.
std::size_t add_entry(std::string& text, std::size_t at) {
  if (!follows_extern_c(text, at)) throw std::runtime_error("a kernel is not extern \"C\"");
  Reader reader(text, at + kGlobal.size());
  blank(text, at, reader.at());
  std::string max_threads = kMostThreads;
  std::string name;
  bool returns_void = false;
  for (;;) {
    reader.skip_space();
    const std::size_t begin = reader.at();
    const std::string word = reader.name();
    reader.skip_space();
    if (word == kLaunchBounds || word == kAttribute) {
      const std::size_t opening = reader.at();
      const std::size_t first_end = reader.skip_brackets();
      if (word == kAttribute) continue;
      max_threads = text.substr(opening + 1, first_end - opening - 1);
      blank(text, begin, reader.at());
    } else if (word == "void") {
      returns_void = true;
    } else {
      name = word;
      break;
    }
  }
  if (!returns_void || name.empty() || reader.peek() != '(') {
    throw std::runtime_error("a kernel is not of the form extern \"C\" __global__ void NAME(...)");
  }
  reader.skip_brackets();
  reader.skip_space();
  if (reader.peek() != '{') return reader.at();  // a declaration
  reader.skip_brackets();
  const std::string entry = entry_of(name, max_threads);
  text.insert(reader.at(), entry);
  return reader.at() + entry.size();
}

}  // namespace

std::string add_kernel_entries(std::string program) {
  std::size_t at = 0;
  while ((at = program.find(kGlobal, at)) != std::string::npos) {
    const std::size_t end = at + kGlobal.size();
    const bool is_whole_word = (at == 0 || !is_name_character(program[at - 1])) &&
                               (end == program.size() || !is_name_character(program[end]));
    at = is_whole_word ? add_entry(program, at) : end;
  }
  return program;
}

}  // namespace cuda_emulator
