// Go's own HTTP client and the OpenAI SDK as a service uses them: through the proxy of the environment, and with base
// URLs. Arguments: host, base URL of that provider, base URL of OpenAI, token. Prints one JSON object.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

type results struct {
	Quotes       map[string]string `json:"quotes"`
	Uploaded     int               `json:"uploaded"`
	Parallel     []string          `json:"parallel"`
	ThroughProxy sdk               `json:"sdkThroughProxy"`
	ByBaseURL    sdk               `json:"sdkByBaseUrl"`
}

type sdk struct {
	Chat     string   `json:"chat"`
	Streamed string   `json:"streamed"`
	Failures []string `json:"failures"`
	File     string   `json:"file"`
}

func main() {
	host, base, openaiBase, token := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	key := "&apikey=" + token
	printed := results{
		Quotes: map[string]string{
			"plain":  quote("http://"+host, ""),
			"secure": quote("https://"+host, ""),
			"base":   quote(base, key),
		},
		Uploaded:     upload("https://" + host),
		Parallel:     parallel("https://" + host),
		ThroughProxy: useSDK(openai.NewClient(option.WithMaxRetries(0))),
		ByBaseURL: useSDK(openai.NewClient(
			option.WithMaxRetries(0), option.WithBaseURL(openaiBase), option.WithAPIKey(token),
		)),
	}
	if err := json.NewEncoder(os.Stdout).Encode(printed); err != nil {
		panic(err)
	}
}

// quote returns the protocol and status of the answer, and the price in it.
func quote(base, key string) string {
	answer, err := http.Get(base + "/stable/quote?symbol=AAPL" + key)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	var rows []struct{ Price float64 }
	if err := json.NewDecoder(answer.Body).Decode(&rows); err != nil || len(rows) != 1 {
		return fmt.Sprintf("%s %d, not a quote: %v", answer.Proto, answer.StatusCode, err)
	}
	return fmt.Sprintf("%s %d %.2f", answer.Proto, answer.StatusCode, rows[0].Price)
}

// upload sends a body of unknown length and returns how much of it the provider got.
func upload(base string) int {
	reader, writer := io.Pipe()
	go func() {
		for range 4 {
			writer.Write(bytes.Repeat([]byte("x"), 50_000))
		}
		writer.Close()
	}()
	answer, err := http.Post(base+"/form", "application/octet-stream", reader)
	if err != nil {
		return -1
	}
	defer answer.Body.Close()
	var got struct{ Size int }
	json.NewDecoder(answer.Body).Decode(&got)
	return got.Size
}

func parallel(base string) []string {
	quotes := make([]string, 5)
	var group sync.WaitGroup
	for i := range quotes {
		group.Go(func() { quotes[i] = quote(base, "") })
	}
	group.Wait()
	return quotes
}

func useSDK(client openai.Client) sdk {
	ctx := context.Background()
	ask := openai.ChatCompletionNewParams{
		Model:    "gpt-test",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("grüße")},
	}
	var got sdk
	if chat, err := client.Chat.Completions.New(ctx, ask); err != nil {
		got.Chat = err.Error()
	} else {
		got.Chat = chat.Choices[0].Message.Content
	}
	stream := client.Chat.Completions.NewStreaming(ctx, ask)
	for stream.Next() {
		got.Streamed += stream.Current().Choices[0].Delta.Content
	}
	if err := stream.Err(); err != nil {
		got.Streamed = err.Error()
	}
	for _, status := range []int{401, 429, 500} {
		ask.Model = fmt.Sprintf("fails-%d", status)
		var failure *openai.Error
		if _, err := client.Chat.Completions.New(ctx, ask); errors.As(err, &failure) {
			got.Failures = append(got.Failures, fmt.Sprintf("%d %s", failure.StatusCode, failure.Message))
		}
	}
	notes := openai.File(bytes.NewReader(bytes.Repeat([]byte("text\r\n"), 20_000)), "notes.txt", "text/plain")
	file, err := client.Files.New(ctx, openai.FileNewParams{File: notes, Purpose: openai.FilePurposeAssistants})
	if err != nil {
		got.File = err.Error()
	} else {
		got.File = file.ID
	}
	return got
}
