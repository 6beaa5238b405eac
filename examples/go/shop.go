// A shop: PORT=3000 go run . Orders are kept in memory, under a lock.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	kpayURL     = "https://pay.esicia.com/"
	postbackURL = "https://shop.example/kpay/postback"
)

type order struct {
	state   string
	credits int
}

var (
	mutex  sync.Mutex
	orders = map[string]*order{}
	client = http.Client{Timeout: 30 * time.Second}
)

type answer struct {
	Retcode  *int   `json:"retcode"`
	Statusid string `json:"statusid"`
}

// kpay calls KPay; an error says nothing about the payment.
func kpay(message map[string]string) (found answer, err error) {
	body, _ := json.Marshal(message)
	request, err := http.NewRequest("POST", kpayURL, bytes.NewReader(body))
	if err != nil {
		return found, err
	}
	request.SetBasicAuth(os.Getenv("KPAY_USERNAME"), os.Getenv("KPAY_PASSWORD"))
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return found, err
	}
	defer response.Body.Close()
	return found, json.NewDecoder(response.Body).Decode(&found)
}

// confirm asks KPay how an order stands, and settles it once: whatever else is told is only a reason to ask.
func confirm(id string) {
	status, err := kpay(map[string]string{"action": "checkstatus", "refid": id})
	// 03 is pending; 611 after an answer that was lost is not final either.
	if err != nil || status.Statusid == "03" || status.Statusid == "611" {
		return
	}
	mutex.Lock()
	defer mutex.Unlock()
	found := orders[id]
	if found == nil || found.state != "pending" {
		return
	}
	if status.Statusid == "01" {
		found.state = "paid"
		found.credits++
	} else {
		found.state = "failed"
	}
}

func create(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	mutex.Lock()
	orders[id] = &order{state: "pending"}
	mutex.Unlock()
	found, err := kpay(map[string]string{
		"action": "pay", "msisdn": r.FormValue("msisdn"), "email": "customer@example.rw", "details": "Order " + id,
		"refid": id, "amount": r.FormValue("amount"), "currency": "RWF", "cname": "Jane Customer", "cnumber": "1",
		"pmethod": "momo", "retailerid": "02", "returl": postbackURL,
		"redirecturl": "https://shop.example/orders/" + id, "bankid": "63510",
	})
	// 608 means that an earlier attempt arrived after all; no answer means that nobody knows. Both are for checkstatus.
	if err == nil && found.Retcode != nil && *found.Retcode != 0 && *found.Retcode != 608 {
		mutex.Lock()
		orders[id].state = "failed"
		mutex.Unlock()
	}
	fmt.Fprint(w, "ordered")
}

func postback(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Tid   string `json:"tid"`
		Refid string `json:"refid"`
	}
	// The raw body, whatever its label: KPay has been seen to label JSON as a form.
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Refid == "" {
		http.Error(w, "not a postback", http.StatusBadRequest)
		return
	}
	confirm(body.Refid)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"tid": body.Tid, "refid": body.Refid, "reply": "OK"})
}

func one(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/orders/")
	if asked := strings.TrimSuffix(id, "/ask"); asked != id {
		confirm(asked)
		return
	}
	mutex.Lock()
	defer mutex.Unlock()
	if found := orders[id]; found != nil {
		fmt.Fprintf(w, "%s %d", found.state, found.credits)
	} else {
		fmt.Fprint(w, "unknown")
	}
}

func main() {
	http.HandleFunc("/orders", create)
	http.HandleFunc("/orders/", one)
	http.HandleFunc("/kpay/postback", postback)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
