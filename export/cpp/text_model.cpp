#include "text_model.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "litert.h"

namespace {

void Check(LiteRtStatus status, const std::string& what) {
  if (status != 0) {
    throw std::runtime_error(what + " (LiteRT status " + std::to_string(status) + ").");
  }
}

// Owns what LiteRT made.
template <typename T, void (*destroy)(T)>
struct Destroy {
  using pointer = T;
  void operator()(T handle) const { destroy(handle); }
};
template <typename T, void (*destroy)(T)>
using Owned = std::unique_ptr<T, Destroy<T, destroy>>;

struct Tensor {
  LiteRtRankedTensorType type;
  Owned<LiteRtTensorBuffer, LiteRtDestroyTensorBuffer> buffer;

  size_t size() const {
    size_t size = 1;
    for (unsigned i = 0; i < type.layout.rank; ++i) size *= type.layout.dimensions[i];
    return size;
  }
};

// A text's UTF-8 bytes, padded with zeros. One that is too long is cut between characters, and
// spaces fill the last places: by those the file knows that it was cut.
void PutBytes(const std::string& text, size_t max_bytes, int32_t* row) {
  size_t end = std::min(text.size(), max_bytes);
  const bool cut = end < text.size();
  if (cut) {
    while (end > 0 && end + 4 > max_bytes && (text[end] & 0xC0) == 0x80) --end;
  }
  for (size_t i = 0; i < end; ++i) row[i] = static_cast<unsigned char>(text[i]);
  std::fill(row + end, row + max_bytes, cut ? ' ' : 0);
}

uint32_t Number(const std::string& content, size_t at, int bytes) {
  if (at + bytes > content.size()) return 0;
  uint32_t number = 0;
  for (int i = bytes - 1; i >= 0; --i) {
    number = number << 8 | static_cast<unsigned char>(content[at + i]);
  }
  return number;
}

// Where the zip archive at the end of a .tflite is closed.
size_t FindArchive(const std::string& content, const std::string& path) {
  const size_t last = content.rfind("PK\5\6");
  if (last == std::string::npos || last + 22 + 65535 < content.size()) {
    // The runtime does not check for this itself: it would crash.
    throw std::runtime_error(path + " ends too early: the labels and the vocabulary behind the "
                             "model are missing. Copy or export it again.");
  }
  return last;
}

// The lines of a file in that archive, where nothing is compressed; none if it is not there.
std::vector<std::string> ReadLines(const std::string& content, size_t last,
                                   const std::string& name) {
  std::vector<std::string> lines;
  size_t entry = last - Number(content, last + 12, 4);  // the directory stands before its end
  const size_t archive = entry - Number(content, last + 16, 4);
  for (uint32_t i = Number(content, last + 10, 2); i > 0 && entry < content.size(); --i) {
    const uint32_t name_size = Number(content, entry + 28, 2);
    if (content.compare(entry + 46, name_size, name) == 0) {
      const size_t header = archive + Number(content, entry + 42, 4);
      const size_t start =
          header + 30 + Number(content, header + 26, 2) + Number(content, header + 28, 2);
      if (start > content.size()) return lines;
      std::istringstream file(content.substr(start, Number(content, entry + 20, 4)));
      for (std::string line; std::getline(file, line);) lines.push_back(line);
      return lines;
    }
    entry += 46 + name_size + Number(content, entry + 30, 2) + Number(content, entry + 32, 2);
  }
  return lines;
}

std::string NameOf(const std::vector<std::string>& names, int32_t index) {
  const bool known = index >= 0 && static_cast<size_t>(index) < names.size();
  return known ? names[index] : std::to_string(index);
}

}  // namespace

// A loaded file, and the memory of its inputs and outputs.
class TextModel::Runtime {
  // Destroyed in the reverse order: nothing outlives what it was made from.
  Owned<LiteRtEnvironment, LiteRtDestroyEnvironment> environment_;
  Owned<LiteRtModel, LiteRtDestroyModel> model_;
  Owned<LiteRtCompiledModel, LiteRtDestroyCompiledModel> compiled_;

 public:
  explicit Runtime(const std::string& path) {
    LiteRtEnvironment environment;
    Check(LiteRtCreateEnvironment(0, nullptr, &environment), "LiteRT does not start");
    environment_.reset(environment);
    const std::string what = path + " is damaged, or too new for this LiteRT";
    LiteRtModel model;
    Check(LiteRtCreateModelFromFile(environment, path.c_str(), &model), what);
    model_.reset(model);

    LiteRtOptions options;
    Check(LiteRtCreateOptions(&options), "LiteRT does not start");
    LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu);
    LiteRtCompiledModel compiled;
    const LiteRtStatus status = LiteRtCreateCompiledModel(environment, model, options, &compiled);
    LiteRtDestroyOptions(options);
    Check(status, what);
    compiled_.reset(compiled);

    LiteRtSignature signature = FindSignature(path);
    LiteRtParamIndex count;
    Check(LiteRtGetNumSignatureInputs(signature, &count), what);
    for (LiteRtParamIndex i = 0; i < count; ++i) {
      const char* name;
      LiteRtTensor tensor;
      LiteRtTensorBufferRequirements needs;
      Check(LiteRtGetSignatureInputName(signature, i, &name), what);
      Check(LiteRtGetSignatureInputTensorByIndex(signature, i, &tensor), what);
      Check(LiteRtGetCompiledModelInputBufferRequirements(compiled, signature_, i, &needs), what);
      input_buffers_.push_back(Make(tensor, needs, &inputs[name]));
    }
    Check(LiteRtGetNumSignatureOutputs(signature, &count), what);
    for (LiteRtParamIndex i = 0; i < count; ++i) {
      const char* name;
      LiteRtTensor tensor;
      LiteRtTensorBufferRequirements needs;
      Check(LiteRtGetSignatureOutputName(signature, i, &name), what);
      Check(LiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor), what);
      Check(LiteRtGetCompiledModelOutputBufferRequirements(compiled, signature_, i, &needs), what);
      output_buffers_.push_back(Make(tensor, needs, &outputs[name]));
    }
    if (!inputs.count("text") || !FindTask()) {
      std::string names;
      for (const auto& [name, tensor] : inputs) names += (names.empty() ? "" : ", ") + name;
      throw std::runtime_error(path + " does not turn text into an answer. Export it with the text "
                               "interface. Received: a file with the inputs " + names);
    }
    num_pairs = inputs.count("text_pair") ? inputs["text_pair"].type.layout.dimensions[0] : 0;
  }

  void Run() {
    Check(LiteRtRunCompiledModel(compiled_.get(), signature_, input_buffers_.size(),
                                 input_buffers_.data(), output_buffers_.size(),
                                 output_buffers_.data()),
          "LiteRT cannot run the file");
  }

  void SetTexts(const std::string& input, const std::vector<std::string>& texts) {
    const Tensor& tensor = inputs.at(input);
    const size_t max_bytes = tensor.type.layout.dimensions[1];
    std::vector<int32_t> rows(texts.size() * max_bytes);
    for (size_t i = 0; i < texts.size(); ++i) {
      PutBytes(texts[i], max_bytes, rows.data() + i * max_bytes);
    }
    void* memory;
    Check(LiteRtLockTensorBuffer(tensor.buffer.get(), &memory, kLiteRtTensorBufferLockModeWrite),
          "LiteRT gives no memory");
    std::memcpy(memory, rows.data(), rows.size() * sizeof(int32_t));
    LiteRtUnlockTensorBuffer(tensor.buffer.get());
  }

  template <typename T>
  std::vector<T> Get(const std::string& output) const {
    const Tensor& tensor = outputs.at(output);
    void* memory;
    Check(LiteRtLockTensorBuffer(tensor.buffer.get(), &memory, kLiteRtTensorBufferLockModeRead),
          "LiteRT gives no memory");
    const T* values = static_cast<const T*>(memory);
    std::vector<T> copy(values, values + tensor.size());
    LiteRtUnlockTensorBuffer(tensor.buffer.get());
    return copy;
  }

  std::map<std::string, Tensor> inputs;
  std::map<std::string, Tensor> outputs;
  Task task;
  size_t num_pairs;

 private:
  LiteRtSignature FindSignature(const std::string& path) {
    LiteRtParamIndex count;
    LiteRtSignature signature;
    Check(LiteRtGetNumModelSignatures(model_.get(), &count), path);
    for (signature_ = 0; signature_ < count; ++signature_) {
      const char* key;
      Check(LiteRtGetModelSignature(model_.get(), signature_, &signature), path);
      Check(LiteRtGetSignatureKey(signature, &key), path);
      if (std::strcmp(key, "serving_default") == 0) return signature;
    }
    throw std::runtime_error(path + " has no signature serving_default. Export it with the text "
                             "interface.");
  }

  LiteRtTensorBuffer Make(LiteRtTensor tensor, LiteRtTensorBufferRequirements needs, Tensor* made) {
    LiteRtTensorBuffer buffer;
    Check(LiteRtGetRankedTensorType(tensor, &made->type), "The file has a tensor without shape");
    Check(LiteRtCreateManagedTensorBufferFromRequirements(environment_.get(), &made->type, needs,
                                                          &buffer),
          "LiteRT gives no memory");
    made->buffer.reset(buffer);
    return buffer;
  }

  bool FindTask() {
    const bool choices =
        inputs.count("text_pair") && inputs["text_pair"].type.layout.dimensions[0] > 1;
    const std::pair<const char*, Task> tasks[] = {
        {"entity_count", Task::kEntities},
        {"answer_start", Task::kQuestionAnswering},
        {"mask_count", Task::kFillMask},
        {"embedding", Task::kEmbedding},
        {"values", Task::kRegression},
        {"probabilities", choices ? Task::kMultipleChoice : Task::kClassification},
    };
    for (const auto& [output, found] : tasks) {
      if (outputs.count(output)) {
        task = found;
        return true;
      }
    }
    return false;
  }

  LiteRtParamIndex signature_;
  std::vector<LiteRtTensorBuffer> input_buffers_;  // in the order of the signature
  std::vector<LiteRtTensorBuffer> output_buffers_;
};

TextModel::TextModel(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be opened.");
  std::string content(std::istreambuf_iterator<char>(file), {});
  if (content.size() < 8 || content.compare(4, 4, "TFL3") != 0) {
    throw std::runtime_error(path + " is not a TFLite file.");
  }
  const size_t last = FindArchive(content, path);
  labels_ = ReadLines(content, last, "labels.txt");
  vocabulary_ = ReadLines(content, last, "vocab.txt");
  content = {};  // the runtime maps the file itself
  runtime_ = std::make_unique<Runtime>(path);
}

TextModel::~TextModel() = default;

Task TextModel::task() const { return runtime_->task; }

size_t TextModel::num_pairs() const { return runtime_->num_pairs; }

Answer TextModel::Run(const std::string& text, const std::vector<std::string>& pairs) {
  if (pairs.size() != num_pairs()) {
    throw std::invalid_argument("The file takes " + std::to_string(num_pairs()) +
                                " second text(s) with a text. Received: " +
                                std::to_string(pairs.size()));
  }
  runtime_->SetTexts("text", {text});
  if (!pairs.empty()) runtime_->SetTexts("text_pair", pairs);
  runtime_->Run();

  const auto floats = [this](const char* name) { return runtime_->Get<float>(name); };
  const auto ints = [this](const char* name) { return runtime_->Get<int32_t>(name); };
  Answer answer;
  answer.truncated = ints("truncated")[0] != 0;
  switch (task()) {
    case Task::kClassification: {
      const std::vector<float> scores = floats("probabilities");
      for (size_t i = 0; i < scores.size(); ++i) {
        answer.labels.push_back({NameOf(labels_, i), scores[i]});
      }
      std::stable_sort(answer.labels.begin(), answer.labels.end(),
                       [](const Scored& a, const Scored& b) { return a.score > b.score; });
      break;
    }
    case Task::kMultipleChoice: {
      const std::vector<float> scores = floats("probabilities");
      for (size_t i = 0; i < scores.size(); ++i) answer.choices.push_back({pairs[i], scores[i]});
      answer.best_choice = std::max_element(scores.begin(), scores.end()) - scores.begin();
      break;
    }
    case Task::kRegression:
      answer.values = floats("values");
      break;
    case Task::kEmbedding:
      answer.values = floats("embedding");
      break;
    case Task::kEntities: {
      const std::vector<int32_t> starts = ints("entity_starts"), ends = ints("entity_ends");
      const std::vector<int32_t> kinds = ints("entity_labels");
      const std::vector<float> scores = floats("entity_scores");
      for (int32_t i = 0, count = ints("entity_count")[0]; i < count; ++i) {
        answer.spans.push_back({static_cast<size_t>(starts[i]), static_cast<size_t>(ends[i]),
                                NameOf(labels_, kinds[i]), scores[i], {}});
      }
      break;
    }
    case Task::kQuestionAnswering: {
      const size_t start = ints("answer_start")[0], end = ints("answer_end")[0];
      answer.spans.push_back({start, end, "", floats("score")[0], {}});
      answer.no_answer_score = floats("no_answer_score")[0];
      break;
    }
    case Task::kFillMask: {
      const std::vector<int32_t> starts = ints("mask_starts"), ends = ints("mask_ends");
      const std::vector<int32_t> ids = ints("token_ids");
      const std::vector<float> scores = floats("scores");
      const size_t best = ids.size() / starts.size();
      for (int32_t i = 0, count = ints("mask_count")[0]; i < count; ++i) {
        Span mask{static_cast<size_t>(starts[i]), static_cast<size_t>(ends[i]), "", 0, {}};
        for (size_t j = i * best; j < (i + 1) * best; ++j) {
          mask.tokens.push_back({NameOf(vocabulary_, ids[j]), scores[j]});
        }
        answer.spans.push_back(mask);
      }
      break;
    }
  }
  return answer;
}
